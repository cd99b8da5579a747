"""Our own words beside the ontology's: what clinicians and patients say, and what is too vague."""

from __future__ import annotations

EXTRA: dict[str, tuple[str, ...]] = {
    "HP:0000365": ("hard of hearing",),
    "HP:0000622": ("blurry vision", "vision blurred"),
    "HP:0000790": ("bloody urine",),
    "HP:0000952": ("jaundiced", "icteric", "yellowing of eyes"),
    "HP:0000969": ("edematous",),
    "HP:0000980": ("pale", "pale skin"),
    "HP:0000988": ("rash", "skin eruption"),
    "HP:0000989": ("pruritic",),
    "HP:0001250": ("convulsion", "convulsed", "fits", "seizing"),
    "HP:0001252": ("floppy", "hypotonic"),
    "HP:0001254": ("lethargic",),
    "HP:0001279": ("passed out", "passing out", "blackout"),
    "HP:0001289": ("confused", "disoriented"),
    "HP:0001324": ("weakness",),
    "HP:0001649": ("tachycardic", "racing heart", "rapid pulse"),
    "HP:0001662": ("bradycardic",),
    "HP:0001744": ("palpable spleen", "spleen is enlarged"),
    "HP:0001824": ("lost weight", "lost kg", "lost pounds", "lost lb"),
    "HP:0001945": ("feverishness",),
    "HP:0001962": ("pounding heart",),
    "HP:0002013": ("throwing up", "threw up"),
    "HP:0002014": ("loose stools", "watery stools", "loose motions"),
    "HP:0002018": ("feeling sick",),
    "HP:0002039": ("decreased appetite",),
    "HP:0002094": ("short of breath", "dyspneic"),
    "HP:0002105": ("blood in sputum", "bloody sputum"),
    "HP:0002240": ("palpable liver", "liver is enlarged"),
    "HP:0002315": ("head pain",),
    "HP:0002321": ("spinning sensation", "room spinning"),
    "HP:0002329": ("drowsy", "somnolent"),
    "HP:0002360": ("trouble sleeping", "difficulty sleeping", "poor sleep"),
    "HP:0002615": ("hypotensive",),
    "HP:0000822": ("hypertensive",),
    "HP:0002716": ("swollen glands",),
    "HP:0003326": ("body aches",),
    "HP:0003418": ("backache",),
    "HP:0012378": ("exhausted", "exhaustion"),
    "HP:0030166": ("sweating at night",),
    "HP:0030828": ("wheezy",),
    "HP:0033050": ("painful throat",),
    "HP:0100518": ("burning urination",),
    "HP:0100749": ("chest discomfort",),
}
"""HPO id -> phrases that mean it. Checked against the term's definition, one by one."""

_VAGUE = """
    abnormal all anomaly disease disorder lesion mass finding symptom growth behavior mole
    infection inflammation neoplasm tumor cancer cold fall drink stain lump bump spot sign short
    cut crack small large drop gas hair pit tag web bow tall thin gap lead tic groan
    voice face eye ear nose mouth neck skin bone joint muscle nerve brain cardiac hepatic renal
    pulmonary abdominal positive negative congenital chronic acute severe mild pain swell block
    attack stress mark sleep walk talk cry laugh line scar injury wound burn shock pressure
    defect elevate decrease loss weight height temperature pulse snap click murmur family twin
    cyst stone ridge cup fat dry wet red white blue yellow hump dip blush
    allergy allergic trauma bald order aspiration tear dullness unresponsive
"""
BLOCKED = frozenset(_VAGUE.split())
"""Stems that, alone, are no finding: too vague, or mostly said of something else."""

_SILENT = "a an the of in on at to for by his her its their this that as"
SILENT = frozenset(_SILENT.split())
"""Words that neither match nor count as a gap."""
