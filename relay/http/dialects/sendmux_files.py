"""Which files Sendmux takes: known by their extension, and the binary ones their first octets, too (contract 4.1)."""

from __future__ import annotations

from typing import NamedTuple

TEXT: tuple[bytes, ...] = (b"",)
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter is an empty one (APPNOTE 4.3.16)
OLE = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)  # MS-CFB 2.2
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."


class FileType(NamedTuple):
    """A media type, and what a file of it may begin with; `inside` stands at octet 8 besides."""

    media_type: str
    begins: tuple[bytes, ...]
    inside: bytes = b""

    def is_of(self, content: bytes) -> bool:
        return content.startswith(self.begins) and content[8 : 8 + len(self.inside)] == self.inside


# fmt: off
TYPES = {
    "png":  FileType("image/png", (b"\x89PNG\r\n\x1a\n",)),
    "jpg":  FileType("image/jpeg", (b"\xff\xd8\xff",)),
    "jpeg": FileType("image/jpeg", (b"\xff\xd8\xff",)),
    "gif":  FileType("image/gif", (b"GIF87a", b"GIF89a")),
    "webp": FileType("image/webp", (b"RIFF",), b"WEBP"),
    "bmp":  FileType("image/bmp", (b"BM",)),
    "ico":  FileType("image/vnd.microsoft.icon", (b"\x00\x00\x01\x00",)),
    "pdf":  FileType("application/pdf", (b"%PDF-",)),
    "doc":  FileType("application/msword", OLE),
    "docx": FileType(_OFFICE + "wordprocessingml.document", ZIP),
    "xls":  FileType("application/vnd.ms-excel", OLE),
    "xlsx": FileType(_OFFICE + "spreadsheetml.sheet", ZIP),
    "ppt":  FileType("application/vnd.ms-powerpoint", OLE),
    "pptx": FileType(_OFFICE + "presentationml.presentation", ZIP),
    "odt":  FileType(_OPEN + "text", ZIP),
    "ods":  FileType(_OPEN + "spreadsheet", ZIP),
    "odp":  FileType(_OPEN + "presentation", ZIP),
    "txt":  FileType("text/plain", TEXT),
    "csv":  FileType("text/csv", TEXT),
    "json": FileType("application/json", TEXT),
    "xml":  FileType("application/xml", TEXT),
    "md":   FileType("text/markdown", TEXT),
    "svg":  FileType("image/svg+xml", TEXT),
    "ics":  FileType("text/calendar", TEXT),
    "vcf":  FileType("text/vcard", TEXT),
}
# fmt: on


def type_of(filename: str) -> FileType | None:
    """What a file's name says it is. None: nothing that is taken."""
    _, dot, extension = filename.rpartition(".")
    return TYPES.get(extension.lower()) if dot else None
