"""Pictures for the report, drawn as SVG from what a run has seen: its boots, and its power cuts."""

from html import escape

ROW, LEFT, WIDTH, RIGHT = 22, 190, 560, 250
COLOURS = {"U-Boot": "#7b8794", "kernel": "#3e7cb1", "initrd": "#81a4cd", "userspace": "#f2a541", "recording": "#4c9f70"}
GOOD, BAD, INK, GRID = "#4c9f70", "#c0392b", "#1f2933", "#d9dee4"


def _text(x, y, text, anchor="start", colour=INK, size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(str(text))}</text>'


def _bar(x, y, width, colour, tip):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{ROW - 8}" fill="{colour}"><title>{escape(tip)}</title></rect>'


def _frame(title, rows, longest_s, body, legend=""):
    """A picture with a time axis in seconds over its rows."""
    height = 70 + rows * ROW
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**9) if longest_s / step <= 10)
    axis = ""
    for tick in range(0, int(longest_s) + 1, step):
        x = LEFT + WIDTH * tick / longest_s
        axis += f'<line x1="{x:.1f}" y1="52" x2="{x:.1f}" y2="{height - 10}" stroke="{GRID}"/>' + _text(x, 47, f"{tick} s", "middle", size=11)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{_text(8, 22, title, size=15)}{legend}{axis}{body}</svg>'
    )


def table(figures):
    """What a run has measured, as HTML."""
    rows = ""
    for name, values in figures.items():
        told = ", ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)
        rows += f"<tr><td>{escape(name)}</td><td>{escape(told)}</td></tr>"
    return f"<table><thead><tr><th>figure</th><th>measured</th></tr></thead><tbody>{rows}</tbody></table>"


def boots(cuts, most=25):
    """From power-on until recording, stage by stage: each boot that was watched (the last of them, where there are many)."""
    watched = [cut for cut in cuts if cut.get("boot", {}).get("recording")][-most:]
    if not watched:
        return ""
    longest, body = max(cut["boot"]["recording"] for cut in watched) * 1.05, ""
    for row, cut in enumerate(watched):
        y, begin = 58 + row * ROW, 0.0
        body += _text(LEFT - 8, y + 11, f"after cut {cut['cut']} ({cut['phase']})", "end")
        for name, end in sorted(cut["boot"].items(), key=lambda stage: stage[1]):
            body += _bar(LEFT + WIDTH * begin / longest, y, WIDTH * (end - begin) / longest, COLOURS[name], f"{name}: {end - begin:.1f} s")
            begin = end
        body += _text(LEFT + WIDTH * begin / longest + 6, y + 11, f"{begin:.0f} s")
    legend, x = "", 330
    for name in ("U-Boot", "kernel", "initrd", "userspace", "recording"):
        if any(name in cut["boot"] for cut in watched):
            legend += _bar(x, 10, 14, COLOURS[name], name) + _text(x + 20, 21, name)
            x += 100
    return _frame("Boots, from power-on to recording", len(watched), longest, body, legend)


def cuts(seen):
    """The campaign: when each cut came, how long the box took to record again, and what was safe before and after."""
    if not seen:
        return ""
    begin = seen[0]["began_at"]
    longest = max(cut["began_at"] - begin + cut["seconds"] for cut in seen) * 1.02
    body = ""
    for row, cut in enumerate(seen):
        y, problem = 58 + row * ROW, cut.get("problem")
        at, end = cut["began_at"] - begin, cut["began_at"] - begin + cut["seconds"]
        scale = lambda seconds: LEFT + WIDTH * seconds / longest
        tip = problem or f"{cut['phase']}: {cut.get('moment', '')}"
        body += _text(LEFT - 8, y + 11, f"{cut['cut']} {cut['phase']}" + (" ◆" if cut["logged"] else ""), "end", BAD if problem else INK)
        body += _bar(scale(at), y, scale(end) - scale(at), BAD if problem else COLOURS["initrd"], tip)
        # What follows the cut until it records again.
        if (off := cut.get("off_at")) and (took := cut.get("recording_s")):
            body += _bar(scale(off - begin), y, WIDTH * took / longest, GOOD, f"recording again after {took:.0f} s")
        if off:
            x = scale(off - begin)
            body += f'<path d="M{x:.1f} {y - 2} v{ROW - 4}" stroke="{BAD}" stroke-width="2"/>'
        said = "boots" if cut["boots"] else "does not boot"
        if "safe_after" in cut:
            # Where retention gave up files that nobody had counted, there is nothing to compare.
            said = f"safe {cut['safe_before']} → {'given up' if cut['safe_after'] is None else cut['safe_after']}"
        body += _text(LEFT + WIDTH + 8, y + 11, "failed: " + problem.splitlines()[0][:28] if problem else said, colour=BAD if problem else INK)
    legend = _text(330, 21, "red line: the cut · green: until it records · ◆ unflushed writes lost · frames safe before → found after")
    return _frame("Power cuts", len(seen), longest, body, legend)
