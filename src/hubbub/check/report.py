"""What came of the checks: as text, as JSON, and as the XML that build servers read."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from hubbub.check.runner import Report, Result, Verdict

__all__ = ["as_json", "line", "summary", "write_junit"]

WIDTH = max(len(outcome) for outcome in Verdict)


def line(result: Result) -> str:
    """One line on a result."""
    text = f"{result.outcome:{WIDTH}}  {result.promise.name}: {result.promise.says}"
    return f"{text}; {why(result)}" if why(result) else text


def why(result: Result) -> str:
    if result.outcome is Verdict.FAIL:
        wanted = f"; wanted: {result.wanted}" if result.wanted else ""
        return f"sent: {result.sent}; came: {result.came}{wanted}"
    return result.why


def summary(report: Report) -> str:
    """The last line."""
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in Verdict)
    dialects = "classic and v1" if report.has_v1 else "classic only"
    return f"{report.url} ({dialects}): {counts}"


def as_json(report: Report) -> str:
    """The whole report as one JSON document."""
    return json.dumps(
        {
            "url": report.url,
            "user": report.user,
            "dialects": ["classic", "v1"] if report.has_v1 else ["classic"],
            "counts": {str(outcome): report.count(outcome) for outcome in Verdict},
            "results": [as_object(result) for result in report.results],
        },
        indent=2,
    )


def as_object(result: Result) -> dict[str, object]:
    found: dict[str, object] = {
        "group": result.promise.group,
        "name": result.promise.name,
        "says": result.promise.says,
        "outcome": str(result.outcome),
        "seconds": round(result.seconds, 3),
    }
    if result.outcome is Verdict.FAIL:
        found |= {"sent": result.sent, "came": result.came, "wanted": result.wanted}
    elif result.outcome is Verdict.NOT_OFFERED:
        found["why"] = result.why
    return found


def write_junit(report: Report, file: Path) -> None:
    """Write the report as JUnit XML. `OSError` when it cannot be written."""
    counts = {
        "tests": len(report.results),
        "failures": report.count(Verdict.FAIL),
        "errors": 0,
        "skipped": report.count(Verdict.NOT_OFFERED),
        "time": f"{sum(result.seconds for result in report.results):.3f}",
    }
    suite = ET.Element("testsuite", {"name": "hubbub check"} | {key: str(value) for key, value in counts.items()})
    for result in report.results:
        names = {"classname": result.promise.group, "name": f"{result.promise.name}: {result.promise.says}"}
        case = ET.SubElement(suite, "testcase", names | {"time": f"{result.seconds:.3f}"})
        if result.outcome is Verdict.FAIL:
            ET.SubElement(case, "failure", {"message": why(result)})
        elif result.outcome is Verdict.NOT_OFFERED:
            ET.SubElement(case, "skipped", {"message": result.why})
    root = ET.Element("testsuites")
    root.append(suite)
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
