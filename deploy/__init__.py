"""How Frontdesk is put somewhere: on this machine (`local`), and what images and clusters need."""
