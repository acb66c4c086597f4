"""Makes `labels/home.toml` from WordNet 3.0's hierarchy of nouns; run by hand when the groups change.

    apt-get install wordnet-base
    python tests/tools/make_groups.py > labels/home.toml

Each class of ImageNet is a synset of WordNet 3.0 (`imagenet-1k-synsets.txt`, in the order of the outputs). It
belongs to the first group of which a synset is above it, by way of the hypernyms. One of its words stands
beside each, and is checked: the numbers are those of WordNet 3.0 alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Set, Tuple

NOUNS = Path("/usr/share/wordnet/data.noun")
SYNSETS = Path(__file__).with_name("imagenet-1k-synsets.txt")
LABELS = Path(__file__).parent.parent.parent / "labels" / "imagenet-1k.txt"

#: What is in two of them belongs to the first.
GROUPS: Dict[str, str] = {
    "person": "00007846 person",
    "cat": "02121808 domestic_cat",
    "dog": "02084071 dog",
    "bird": "01503061 bird",
    "other animal": "00015388 animal",
    "vehicle": "03100490 conveyance, 04524313 vehicle",
    "carried thing": "02773037 bag, 02774630 baggage, 02951843 canopy, 02974697 case",
    "food": "00021265 food, 07555863 food, 07705711 produce, 07705931 edible_fruit",
    "plant": "00017222 plant, 12992868 fungus, 13086908 plant_part",
    "clothing": (
        "03051540 clothing, 03380867 footwear, 03502509 headdress, 03513376 helmet, 03725035 mask, "
        "04272054 spectacles, 03099771 converging_lens, 03597469 jewelry, 02739668 armor"
    ),
    "furniture": (
        "03405725 furniture, 03405265 furnishing, 03366823 floor_cover, 03151500 cushion, "
        "02820210 bedclothes, 03636248 lamp, 04181718 shade, 04589190 window_blind, 04151940 screen"
    ),
    "musical instrument": "03800933 musical_instrument",
    "electronics": (
        "03278248 electronic_equipment, 03277771 electronic_device, 03082979 computer, 02942699 camera, "
        "04400289 telecommunication_system, 03078287 communication_system, "
        "03274561 electro-acoustic_transducer, 03744840 memory_device, 03257586 duplicator, 03614007 keyboard"
    ),
    "kitchenware": (
        "03621049 kitchen_utensil, 04381994 tableware, 03620052 kitchen_appliance, 03438257 glass, "
        "02876657 bottle, 03241496 drinking_vessel, 04183329 shaker"
    ),
    "household thing": (
        "03528263 home_appliance, 04437953 timepiece, 04447443 toiletry, 03039947 cleaning_implement, "
        "02807260 bath_linen, 04531098 vessel, 02801938 basket, 02839910 bin, 02883344 box, "
        "04608567 writing_implement"
    ),
    "sport or game": (
        "04285146 sports_equipment, 04285622 sports_implement, 03414162 game_equipment, 03964744 plaything"
    ),
    "weapon": "04565375 weapon",
    "tool": "04451818 tool, 03699975 machine, 03323703 fastener",
    "building": "04341686 structure, 04105068 roof, 04191943 shelter",
    "landscape": "09287968 geological_formation",
}

HEADER = """\
# Groups of ImageNet-1k's labels that suit a home: group = [its labels].
# Made from WordNet's hierarchy by tests/tools/make_groups.py; see wordnet-license.txt.
"""


class Nouns:
    """WordNet's nouns: what each synset is called, and which are right above it."""

    def __init__(self, text: str) -> None:
        self.words: Dict[str, List[str]] = {}
        self.above: Dict[str, List[str]] = {}
        for line in text.splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields = line.split(" ")
            synset, words = fields[0], int(fields[3], 16)
            self.words[synset] = fields[4 : 4 + 2 * words : 2]
            # A pointer: its kind, the synset, its part of speech, and which of their words it is about.
            first = 5 + 2 * words
            pointers = [fields[at : at + 2] for at in range(first, first + 4 * int(fields[first - 1]), 4)]
            self.above[synset] = [other for kind, other in pointers if kind in ("@", "@i")]

    def all_above(self, synset: str) -> Set[str]:
        """A synset, and all that are above it."""
        found: Set[str] = set()
        left = [synset]
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                left += self.above[each]
        return found


def roots(nouns: Nouns) -> List[Tuple[str, Set[str]]]:
    """Each group with its synsets."""
    found = []
    for group, synsets in GROUPS.items():
        pairs = [each.split() for each in synsets.split(",")]
        for synset, word in pairs:
            assert word in nouns.words[synset], f"{synset} is {nouns.words[synset]}, and not {word}"
        found.append((group, {synset for synset, _ in pairs}))
    return found


def members(nouns: Nouns) -> Dict[str, List[str]]:
    """Each group with its labels, in the order of the classes."""
    synsets = [line[1:] for line in SYNSETS.read_text(encoding="utf-8").split()]
    labels = LABELS.read_text(encoding="utf-8").splitlines()
    found: Dict[str, List[str]] = {group: [] for group in GROUPS}
    groups = roots(nouns)
    for synset, label in zip(synsets, labels):
        above = nouns.all_above(synset)
        group = next((name for name, below in groups if above & below), None)
        if group is not None:
            found[group].append(label)
    return found


def main() -> None:
    """Print the file."""
    print(HEADER)
    for group, labels in members(Nouns(NOUNS.read_text(encoding="utf-8"))).items():
        key = group if re.fullmatch("[a-z]+", group) else f'"{group}"'
        print(f"{key} = [")
        for label in labels:
            print(f'  "{label}",')
        print("]\n")


if __name__ == "__main__":
    main()
