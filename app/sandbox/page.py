"""How the sandbox's pages look."""

from html import escape

from starlette.responses import HTMLResponse

from app.core.money import CURRENCIES, say_money
from app.sandbox.store import SandboxPayment

_SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
*{{box-sizing:border-box}}
body{{font:16px/1.5 system-ui,sans-serif;background:#f3f5f8;color:#1c2430;margin:0;padding:2rem 1rem}}
main{{background:#fff;padding:clamp(1.25rem,5vw,2.5rem);border-radius:12px;box-shadow:0 4px 24px #0001;margin:0 auto;
max-width:{width}}}
h1{{font-size:1.15rem;margin:0 0 1rem}}h2{{font-size:1rem;margin:2rem 0 .5rem}}p{{margin:.5rem 0;color:#4a5565}}
a{{color:#1257b8}}code{{font-size:.9em}}.amount{{font-size:2rem;font-weight:600;display:block}}
.buttons{{display:flex;gap:.75rem;margin:1.25rem 0}}
button{{font:inherit;border:1px solid transparent;border-radius:8px;padding:.6rem 1.4rem;cursor:pointer}}
button:focus-visible,input:focus-visible,a:focus-visible{{outline:3px solid #8fb8f5;outline-offset:2px}}
.main{{background:#1257b8;color:#fff}}.main:hover{{background:#0e468f}}
.other{{background:#fff;color:#1c2430;border-color:#c3cad5}}.other:hover{{background:#f3f5f8}}
label{{display:inline-flex;flex-direction:column;font-size:.85rem;color:#4a5565}}
input{{font:inherit;width:8rem;padding:.5rem;border:1px solid #c3cad5;border-radius:8px}}
form.line{{display:flex;gap:.75rem;align-items:end;flex-wrap:wrap}}
.table{{overflow-x:auto}}table{{border-collapse:collapse;width:100%;font-size:.9rem}}
th,td{{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid #e3e7ee;white-space:nowrap}}
th{{font-weight:600;color:#4a5565}}.note{{border-top:1px solid #e3e7ee;margin-top:1.5rem;padding-top:.75rem;
font-size:.8rem;color:#66707f;overflow-wrap:anywhere}}
</style></head><body><main>{content}</main></body></html>"""


def page(title: str, content: str, *, width: str = "26rem", status: int = 200) -> HTMLResponse:
    """`content` is HTML; whatever came from outside is escaped in it already."""
    return HTMLResponse(_SHELL.format(title=escape(title), content=content, width=width), status_code=status)


def price_of(payment: SandboxPayment) -> str:
    if payment.currency in CURRENCIES:
        return say_money(payment.amount, payment.currency)
    return f"{payment.amount} minor units of {payment.currency}"
