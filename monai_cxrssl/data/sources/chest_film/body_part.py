# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for parts of the body in the languages of DICOM headers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["other_body_part"]


def other_body_part(part: str, region: str, view: str, descriptions: Sequence[str]) -> str:
    """Return the word by which a header says that another part of the body than the chest was taken, or empty.

    The first text that names a part decides: BodyPartExamined, the meaning of the anatomic region, the view, then the
    descriptions in their order. One that names the chest too ("chest and abdomen") is of the chest; words that are no
    part of the body, and headers without any, leave the image where it is.

    Example:
        >>> other_body_part("", "", "PA", ["Handgelenk links"]), other_body_part("RIBS", "", "AP", ["Hand"])
        ('handgelenk', '')
    """
    for text, words in ((part, _OTHER_PART), (region, _OTHER_PART), (view, _OTHER_VIEW)):
        if decided := _decide(text, words):
            return decided.strip("+")
    for text in descriptions:
        if decided := _decide(text, _OTHER):
            return decided.strip("+")
    return ""


def _decide(text: str, words: re.Pattern[str]) -> str:
    """``"+"`` for the chest, a word for another part, empty where the text names none."""
    folded = _SPINE.sub(" spine ", _fold(text)) if text else ""
    if not folded or _CHEST.search(folded):
        return "+" if folded else ""
    match = words.search(folded)
    return match[0].strip() if match else ""


def _fold(text: str) -> str:
    """Small letters without accents, words apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    plain = "".join(c for c in unicodedata.normalize("NFKD", apart.casefold()) if not unicodedata.combining(c))
    return re.sub(r"[\W\d_]+", " ", plain).strip()


def _pattern(begins: str, whole: str = "", anywhere: str = "") -> re.Pattern[str]:
    """A pattern of words that begin so, that are so, and of texts in scripts without blanks between words."""
    parts = [rf"\b(?:{'|'.join(_fold_words(begins))})\w*"] if begins else []
    parts += [rf"\b(?:{'|'.join(_fold_words(whole))})\b"] if whole else []
    parts += ["|".join(_fold_words(anywhere))] if anywhere else []
    return re.compile("|".join(parts))


def _fold_words(words: str) -> list[str]:
    return [_fold(word) for word in words.split()]


# The spine of the chest is no chest X-ray, whatever its name.
_SPINE = re.compile(
    r"\b(?:thora\w*|torac\w*|torak\w*|brust|bryst\w*|dorsal\w*) ?(?:spine|vertebr\w*|wirbel\w*|colum\w*|rygg\w*)"
    r"|\b(?:rachis|colonne|columna|coluna|colonna|kregoslup\w*|spine|vertebr\w*|rygg\w*) (?:\w+ )?"
    r"(?:thora\w*|torac\w*|torak\w*|dors\w*|piersiow\w*)"
    r"|\b(?:thorac|thorak|torac|torak)o ?l[ou]mb\w*"
    rf"|{_fold('грудн')}\w* (?:{_fold('отдел')}\w* )?{_fold('позвон')}\w*|胸椎|{_fold('흉추')}"
)
_CHEST = _pattern(
    "chest thora torac torak torax lung pulm polmon poumon rippe costa costill brustkorb brustraum hemithora mellkas "
    "tudo gogus akciger keuhko hrudn plic klatk pluc borstkas brostkorg plaman stern mediastin heart herz coeur "
    "corazon грудн грудь груди легк легоч ребр рёбр θωρακ πνευμον",
    "thx cxr rib ribs ribcage brust borst torace longen nguc phoi gril",
    "胸 肺 肋 흉부 폐 가슴 صدر رئة חזה ריא ทรวงอก ปอด छाती",
)
_STEMS = (
    "handgelenk handwurzel wrist poignet muneca punho carp scaphoid finger thumb daumen metacarp phalan nadgarst "
    "sprunggelenk ankle cheville caviglia tobillo tornozelo calcane metatars zehe orteil fuss knie genou ginocchi "
    "rodilla joelho patell rotul kolan huft hueft hanche cadera quadril pelvi becken femur oberschenkel thigh "
    "tibia fibula unterschenkel elbow ellenbogen ellbogen cotovelo forearm unterarm avantbras avambraccio antebra "
    "humer oberarm upperarm shoulder schulter epaule spalla hombro scapul omoplat clavic clavicul schlusselbein "
    "acromio glenohumer abdom bauch brzuc bricho urogra skull schadel schaedel crani craneo nasennebenhohl mandib "
    "maxil kiefer zahn dental panoram orthopantom cervic lumbar lendenwirbel halswirbel lomb kreuzbein coccyx "
    "steissbein wirbelsaul wirbelsaeul spinal vertebr scolio skolio wervel kregoslup mammo breast mamma extremit "
    "czaszk miednic biodr кист запяст стоп голеностоп колен коленн таз тазобедр позвон череп живот брюшн плеч "
    "локт бедр"
)
_WHOLE = (
    "hand hands mano manos dlon reka foot feet pied pieds piede pie heel ferse talus toe toes knee knees hip hips "
    "anca bassin bacino leg legs bein beine jambe gamba pierna coude gomito codo radius ulna ombro kub buik "
    "ventre abd colon nnh hws bws lws cspine tspine lspine sspine spine rachis sacrum sacral orbit orbits nasal "
    "sinus sinuses jaw teeth tooth opg neck hals crane diz ayak omuz kalca karin batin bilek"
)
_SIGNS = (
    "腹 手(?!術|术) 足 膝 頭 骨盤 骨盆 股 腰 頸 颈 肩 肘 腕 踝 脚 髋 脊 복부 "
    "골반 척추 두개 어깨 무릎 손목 수부 족부 발목"
)
_OTHER = re.compile(
    f"{_pattern(_STEMS, _WHOLE).pattern}|{'|'.join(unicodedata.normalize('NFKD', sign) for sign in _SIGNS.split())}"
)
# Too common in descriptions ("arms up", "head end").
_OTHER_PART = re.compile(rf"{_OTHER.pattern}|\b(?:arm|arms|head|kopf|tete|face|eye|eyes|ear|upper arm)\b")
_OTHER_VIEW = re.compile(
    rf"{_OTHER.pattern}|\b(?:mlo|mortise|skyline|sunrise|odontoid|towne|waters|caldwell|frog|bitewing|occlusal)\b"
)
