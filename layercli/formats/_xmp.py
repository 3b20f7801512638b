"""The XMP packet of a file: who made it, the receipt, and the layers' prompts."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from layercli import __version__
from layercli.core.errors import LayercliError
from layercli.core.receipt import Receipt

#: The namespace of our own properties.
NAMESPACE = "urn:layercli:xmp:1#"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_LONGEST = 16 << 20
#: The description that with_receipt adds.
_OURS = re.compile(
    rb'<rdf:Description rdf:about="" xmlns:layercli="[^"]*">\n.*?</rdf:Description>', re.DOTALL
)

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="layercli {version}">
 <rdf:RDF xmlns:rdf="{rdf}">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:layercli="{namespace}">
   <xmp:CreatorTool>layercli {version}</xmp:CreatorTool>
   <dc:format>{mime}</dc:format>
   <photoshop:ColorMode>3</photoshop:ColorMode>
{properties}  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def packet(
    receipt: Receipt | None, prompts: dict[str, str], mime: str = "image/vnd.adobe.photoshop"
) -> bytes:
    """Write an XMP packet (UTF-8) with a receipt and with prompts by layer name; empty ones are left out."""
    text = _PACKET.format(
        version=__version__,
        rdf=_RDF,
        namespace=NAMESPACE,
        mime=mime,
        properties=_properties(receipt, prompts),
    )
    return text.encode("utf-8")


def with_receipt(data: bytes | None, receipt: Receipt | None, prompts: dict[str, str]) -> bytes:
    """A file's packet with our receipt and prompts in it; what other programs wrote stays as it is."""
    end = (data or b"").rfind(b"</rdf:RDF>")
    if data is None or end < 0 or b'x:xmptk="layercli ' in data:
        return packet(receipt, prompts)
    kept = _OURS.sub(b"", data[:end])
    description = (
        f'<rdf:Description rdf:about="" xmlns:layercli="{NAMESPACE}">\n'
        f"{_properties(receipt, prompts)}</rdf:Description>"
    )
    return kept + description.encode("utf-8") + data[end:]


def _properties(receipt: Receipt | None, prompts: dict[str, str]) -> str:
    values = {}
    if receipt is not None:
        values["Receipt"] = receipt.to_json()
    if any(prompts.values()):
        named = {name: prompt for name, prompt in prompts.items() if prompt}
        values["Prompts"] = json.dumps(named, ensure_ascii=False, sort_keys=True)
    return "".join(
        f"   <layercli:{key}>{escape(_xml_text(value))}</layercli:{key}>\n" for key, value in values.items()
    )


def read_packet(data: bytes) -> tuple[Receipt | None, dict[str, str]]:
    """Find the receipt and the prompts in an XMP packet, as we or another program wrote it.

    A packet without ours, or a damaged one, gives (None, {}): the layers matter more than words about them.
    """
    values = _values(data)
    receipt, prompts = None, {}
    try:
        if "Receipt" in values:
            receipt = Receipt.from_json(values["Receipt"])
    except LayercliError:
        receipt = None
    try:
        found = json.loads(values.get("Prompts", "{}"))
    except (ValueError, RecursionError):
        found = {}
    if isinstance(found, dict):
        prompts = {key: value for key, value in found.items() if isinstance(value, str)}
    return receipt, prompts


def _values(data: bytes) -> dict[str, str]:
    """Our simple properties, written as elements or, as other programs do, as attributes."""
    if not isinstance(data, bytes) or len(data) > _LONGEST or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return {}
    start, end = data.find(b"<x:xmpmeta"), data.rfind(b"</x:xmpmeta>")
    if start < 0 or end < 0:
        return {}
    try:
        root = ElementTree.fromstring(data[start : end + len(b"</x:xmpmeta>")])
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    values = {}
    ours = f"{{{NAMESPACE}}}"
    for description in root.iter(f"{{{_RDF}}}Description"):
        for key, value in description.attrib.items():
            if key.startswith(ours):
                values[key.removeprefix(ours)] = value
        for child in description:
            if child.tag.startswith(ours) and child.text:
                values[child.tag.removeprefix(ours)] = child.text
    return values


def _xml_text(json_text: str) -> str:
    """JSON with the characters that XML cannot hold written as JSON escapes."""
    return re.sub("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", json_text)
