"""Google Docs as the package `extradoc` plays it, mended where it falls short of what Google documents.

Mended are: bullets, which take the nesting of their paragraphs from leading tabs and remove these; mentions of people,
which take one unit of room; named ranges, which move with their text; and what `documents.get` gives of the first tab.
"""

from __future__ import annotations

import json
from typing import Any

from extradoc.api_types._generated import Document
from extradoc.mock import MockAPIError, MockGoogleDocsAPI, ValidationError

__all__ = ["DocsStandIn", "MockAPIError"]

#: Stands for a person in the stand-in's text; Google strips it of what is sent.
_CHIP = "\ue000"


class DocsStandIn:
    """One document."""

    def __init__(self, number: str, title: str) -> None:
        start = {
            "documentId": number,
            "title": title,
            "revisionId": "revision-1",
            "tabs": [{"tabProperties": {"tabId": "t.0", "index": 0}, "documentTab": {"body": {"content": _empty()}}}],
        }
        self._mock = MockGoogleDocsAPI(Document.model_validate(start))
        self.strangers: set[str] = set()  #: addresses that cannot be mentioned
        self._people: list[str] = []  #: addresses, in the order of the text

    def copy(self, number: str) -> DocsStandIn:
        """Give another document that says the same."""
        other = DocsStandIn(number, "")
        told = {**self._mock._get_raw(), "documentId": number}
        other._mock, other._people = MockGoogleDocsAPI(Document.model_validate(told)), list(self._people)
        return other

    def get(self) -> dict[str, Any]:
        """Give what `documents.get` gives."""
        raw = json.loads(json.dumps(self._mock._get_raw()))
        (tab, *_) = raw.pop("tabs")
        raw |= {name: value for name, value in tab["documentTab"].items() if name in ("body", "lists", "namedRanges")}
        people = iter(self._people)
        for paragraph in _paragraphs(raw["body"]["content"]):
            paragraph["elements"] = [one for element in paragraph["elements"] for one in _split(element, people)]
        return raw

    def update(self, requests: list[dict[str, Any]], control: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry out a batch, or none of it."""
        before = (self._mock._get_raw(), list(self._people))
        if control:
            self._mock._validate_write_control(control)
        replies = []
        try:
            for request in requests:
                (kind,) = request
                mended = getattr(self, f"_{kind}", None)
                for one in mended(request[kind]) if mended else [request]:
                    replies += self._do(one)
        except Exception:
            self._mock = MockGoogleDocsAPI(Document.model_validate(before[0]))
            self._people = before[1]
            raise
        return {"documentId": before[0]["documentId"], "replies": replies}

    def _do(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Carry out one edit; named ranges move with their text."""
        before = self._body()[-1]["endIndex"]
        replies = self._mock._batch_update_raw([request])["replies"]
        grown = self._body()[-1]["endIndex"] - before
        (told,) = request.values()
        if grown:
            place = told.get("location") or told.get("range") or told["tableCellLocation"]["tableStartLocation"]
            self._move(int(place.get("index", place.get("startIndex"))), grown)
        return replies

    def _move(self, at: int, grown: int) -> None:
        """Move what named ranges name, after an insertion or (where it is negative) a deletion."""
        groups = self._mock._document["tabs"][0]["documentTab"].get("namedRanges", {}).values()
        for one in (place for group in groups for each in group["namedRanges"] for place in each["ranges"]):
            for name, moves in (("startIndex", at <= one["startIndex"]), ("endIndex", at < one["endIndex"])):
                if grown < 0:
                    one[name] -= max(0, min(one[name] - at, -grown))
                elif moves:
                    one[name] += grown

    def _body(self) -> list[dict[str, Any]]:
        return self._mock._document["tabs"][0]["documentTab"]["body"]["content"]

    def _insertPerson(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if request["personProperties"]["email"] in self.strangers:
            raise ValidationError("no account has this address", status_code=400)
        index = request["location"]["index"]
        before = 0
        for paragraph in _paragraphs(self._body()):
            for element in paragraph["elements"]:
                text = element.get("textRun", {}).get("content", "")
                room = max(0, index - element["startIndex"])
                before += _upto(text, room).count(_CHIP)
        self._people.insert(before, request["personProperties"]["email"])
        # the stand-in strips the sign as Google does, so it is put in behind its back
        self._do({"insertText": {"location": {"index": index}, "text": "\u2603"}})
        for paragraph in _paragraphs(self._body()):
            for element in paragraph["elements"]:
                if "textRun" in element:
                    element["textRun"]["content"] = element["textRun"]["content"].replace("\u2603", _CHIP)
        return []

    def _createParagraphBullets(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        start, end = request["range"]["startIndex"], request["range"]["endIndex"]
        self._mock._batch_update_raw([{"createParagraphBullets": request}])
        tabs: list[tuple[int, int]] = []
        for paragraph in _paragraphs(self._body()):
            at = paragraph["elements"][0]["startIndex"]
            if paragraph["elements"][-1]["endIndex"] > start and at < end:
                text = "".join(one.get("textRun", {}).get("content", "") for one in paragraph["elements"])
                depth = len(text) - len(text.lstrip("\t"))
                if depth:
                    # the stand-in tells the nesting by the indent
                    paragraph["paragraphStyle"]["indentStart"] = {"magnitude": 36 * (depth + 1), "unit": "PT"}
                    tabs.append((at, depth))
        ranges = [{"startIndex": at, "endIndex": at + depth} for at, depth in reversed(tabs)]
        return [{"deleteContentRange": {"range": one}} for one in ranges]


def _empty() -> list[dict[str, Any]]:
    run = {"startIndex": 1, "endIndex": 2, "textRun": {"content": "\n", "textStyle": {}}}
    paragraph = {"elements": [run], "paragraphStyle": {"namedStyleType": "NORMAL_TEXT", "direction": "LEFT_TO_RIGHT"}}
    return [{"endIndex": 1, "sectionBreak": {}}, {"startIndex": 1, "endIndex": 2, "paragraph": paragraph}]


def _paragraphs(content):
    for element in content:
        if "paragraph" in element:
            yield element["paragraph"]
        for row in element.get("table", {}).get("tableRows", ()):
            for cell in row["tableCells"]:
                yield from _paragraphs(cell["content"])


def _upto(text: str, room: int) -> str:
    return text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore")


def _split(element, people):
    """Give an element of the stand-in as Google gives it: people apart from the text around them."""
    text = element.get("textRun", {}).get("content", "")
    if _CHIP not in text:
        return [element]
    found, at = [], element["startIndex"]
    for number, part in enumerate(text.split(_CHIP)):
        if number:
            person = {"personId": f"kix.{at}", "personProperties": {"email": next(people)}}
            found.append({"startIndex": at, "endIndex": at + 1, "person": person})
            at += 1
        if part:
            end = at + len(part.encode("utf-16-le")) // 2
            found.append({"startIndex": at, "endIndex": end, "textRun": {**element["textRun"], "content": part}})
            at = end
    return found
