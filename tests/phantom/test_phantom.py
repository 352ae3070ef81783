# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom data set: physics, anatomy, findings, files and their determinism."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.phantom import (
    CLASSES,
    MU,
    Exposure,
    Pose,
    drawing,
    iter_patients,
    line_integral,
    make_phantom_dataset,
    render,
    sample_anatomy,
    sample_patient,
    transmit,
)
from monai_cxrssl.phantom import dataset as dataset_module
from monai_cxrssl.phantom.canvas import Canvas
from monai_cxrssl.phantom.projection import expose, for_presentation
from monai_cxrssl.phantom.write import StoredFormat, sample_format, store_pixels

PATIENTS, SIZE, SEED = 16, 128, 3


def _digests(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Folder, datalist and patients of one small data set."""
    folder = tmp_path_factory.mktemp("phantom") / "set"
    path = make_phantom_dataset(folder, patients=PATIENTS, seed=SEED, size=SIZE, progress=False, workers=2)
    assert path == folder / "datalist.json"
    return folder, json.loads(path.read_text()), list(iter_patients(PATIENTS, SEED, SIZE))


@pytest.fixture(scope="module")
def films():
    """(patient, acquisition, rendered image) of 40 patients at a small size."""
    return [(p, q, render(p, k)) for p in iter_patients(40, 8, 128) for k, q in enumerate(p.acquisitions)]


def _items(datalist: dict) -> list[dict]:
    return [item for split in ("training", "validation", "test") for item in datalist[split]]


# --- physics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tissue", ["soft", "lung", "bone", "metal"])
def test_beer_lambert_on_a_slab(tissue):
    """I / I0 of a slab of 0..20 cm equals exp(-mu t) in float64, and falls with every further millimetre."""
    t = np.linspace(0, 20 if tissue != "metal" else 2, 201)
    zero = np.zeros_like(t)
    tissues = {"soft": zero, "lung": zero, tissue: t}
    intensity = transmit(line_integral(**tissues))
    assert intensity.dtype == np.float64
    np.testing.assert_allclose(intensity, np.exp(-MU[tissue] * t), rtol=1e-12)
    assert (np.diff(intensity) < 0).all()


def test_thickness_of_several_tissues_adds_up():
    rng = np.random.default_rng(0)
    soft, lung, bone = rng.uniform(0, 10, (3, 8, 9))
    expected = np.exp(-MU["soft"] * soft) * np.exp(-MU["lung"] * lung) * np.exp(-MU["bone"] * bone)
    np.testing.assert_allclose(transmit(line_integral(soft, lung, bone)), expected, rtol=1e-12)


def test_more_tissue_is_brighter_through_the_whole_chain():
    """A staircase of tissue stays a staircase of brightness after scatter, noise and display."""
    stairs = np.repeat(np.repeat(np.arange(2, 22, 2.0)[None], 64, 0), 24, 1)
    quiet = Exposure(photons=1e9, scatter=0.3, detail=0.0)
    signal = expose(line_integral(stairs, 0 * stairs), quiet, 10.0, np.random.default_rng(0))
    image = for_presentation(signal, 2.0, 2.0, quiet, 10.0)
    steps = image[:, 12::24].mean(0)
    assert (np.diff(steps) > 0).all()


def test_fewer_photons_are_noisier():
    flat = np.full((96, 96), 2.0, np.float32)
    noise = [expose(flat, Exposure(photons=n, scatter=0), 12.8, np.random.default_rng(0)).std() for n in (1e3, 1e5)]
    # Poisson: the standard deviation falls with the square root of the dose.
    assert noise[0] / noise[1] == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("pose", [Pose(), Pose(4, 0, 1, -2, 1.1, 0.9), Pose(-3, 5, 0, 0, 0.9, 1.0)])
def test_pixel_grid_inverts_the_projection_of_points(pose):
    canvas = Canvas(80, 60, 2.0, pose, (0.5, -0.2))
    points = np.array([[-6.0, -10.0], [5.0, 3.0], [0.0, 9.0]])
    pixels = canvas.to_pixels(points, follow=1.0)
    x, y = canvas.grid(1.0)
    for (col, row), (px, py) in zip(pixels, points, strict=True):
        c0, r0 = int(col), int(row)
        fc, fr = col - c0, row - r0
        for field, expected in ((x, px), (y, py)):
            top = field[r0, c0] * (1 - fc) + field[r0, c0 + 1] * fc
            low = field[r0 + 1, c0] * (1 - fc) + field[r0 + 1, c0 + 1] * fc
            assert top * (1 - fr) + low * fr == pytest.approx(expected, abs=0.05)


# --- anatomy and images ------------------------------------------------------------------------------------------


def test_render_follows_the_array_convention(films):
    for _, q, film in films:
        assert film.image.shape == film.lung_mask.shape == film.opacity_mask.shape == (1, q.height, q.width)
        assert film.image.dtype == np.float32
        assert film.image.min() == 0.0
        assert film.image.max() == 1.0
        for mask in (film.lung_mask, film.opacity_mask):
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) <= {0, 1}
        assert q.height != q.width


def test_lungs_are_dark_and_of_plausible_size(films):
    for p, q, film in films:
        lung = film.lung_mask.astype(bool)
        assert 0.12 < lung.mean() < 0.45
        if not q.lateral and p.label == 0:
            column = film.image[0, :, q.width // 2 - 6 : q.width // 2 + 6]
            spine = column[q.height // 2 :].mean()
            assert film.image[lung].mean() < spine - 0.2


def test_frontal_films_show_two_lungs_and_the_heart_on_the_patients_left(films):
    larger_right = []
    for p, q, film in films:
        if q.lateral or abs(q.pose.yaw) > 3 or abs(q.pose.rotation) > 2 or abs(q.pose.shift_x) > 0.7:
            continue
        half = q.width // 2
        left_of_picture, right_of_picture = film.lung_mask[0, :, :half].sum(), film.lung_mask[0, :, half:].sum()
        assert min(left_of_picture, right_of_picture) > 0.06 * q.height * q.width, p.patient_id
        larger_right.append(left_of_picture > right_of_picture)
    # The heart takes room from the left lung, which lies on the viewer's right.
    assert np.mean(larger_right) > 0.85


def test_anatomy_is_fixed_per_patient_and_differs_between_patients():
    everybody = list(iter_patients(24, 0, 128))
    assert len({p.anatomy for p in everybody}) == 24
    for p in everybody[:6]:
        assert sample_anatomy(p.seed) == p.anatomy
        q = p.acquisitions[0]
        again = render(p, replace(q, seed=q.seed + 1, marker="", devices=False, tube=False))
        # Another exposure of the same pose: other noise, the same lungs.
        np.testing.assert_array_equal(again.lung_mask, render(p, q).lung_mask)
    a, b = (render(p, replace(everybody[0].acquisitions[0], view_position="PA")).lung_mask for p in everybody[:2])
    assert (a != b).mean() > 0.01


def test_anatomy_and_films_do_not_depend_on_the_class():
    for index in range(6):
        versions = [sample_patient(index, label, seed=1, size=128) for label in range(4)]
        assert len({v.anatomy for v in versions}) == 1
        assert len({v.acquisitions for v in versions}) == 1
        assert len({v.findings for v in versions}) == 4


def test_number_of_films_and_views():
    everybody = list(iter_patients(400, 0, 512))
    counts = Counter(len(p.acquisitions) for p in everybody)
    assert set(counts) == {1, 2, 3, 4}
    assert 2.0 < np.mean([len(p.acquisitions) for p in everybody]) < 2.6
    views = Counter(q.view_position for p in everybody for q in p.acquisitions)
    assert set(views) == {"PA", "AP", "LL"}
    assert views["PA"] > views["AP"] > views["LL"]
    assert all(p.acquisitions[0].view_position != "LL" for p in everybody)


def test_projection_of_an_ap_film_enlarges_the_heart():
    patient = sample_patient(0, 0, seed=2, size=160)
    pose = Pose()
    pa, ap = (
        render(patient, replace(patient.acquisitions[0], view_position=v, pose=pose)).lung_mask.sum()
        for v in ("PA", "AP")
    )
    assert ap < pa


# --- findings ----------------------------------------------------------------------------------------------------


def test_opacity_masks_match_the_class(films):
    for p, q, film in films:
        opacity, lung = film.opacity_mask[0].astype(bool), film.lung_mask[0].astype(bool)
        if CLASSES[p.label] == "negative":
            assert not opacity.any()
            assert p.findings == ()
            continue
        assert opacity.any()
        inside = (opacity & lung).sum() / opacity.sum()
        assert inside > 0.3, (p.patient_id, q.view_position, inside)
        sides = {o.side for o in p.findings}
        assert sides == ({-1, 1} if CLASSES[p.label] in ("typical", "indeterminate") else {p.findings[0].side})
    shares = [
        (f.opacity_mask & f.lung_mask).sum() / f.opacity_mask.sum() for p, q, f in films if p.label and not q.lateral
    ]
    assert np.mean(shares) > 0.8


def test_distribution_of_opacities_in_frontal_films(films):
    """Typical: both sides and peripheral. Atypical: one side. Indeterminate: both sides, nearer to the midline."""
    distance = defaultdict(list)
    for p, q, film in films:
        if q.lateral or p.label == 0 or abs(q.pose.rotation) > 3:
            continue
        canvas = Canvas(q.height, q.width, 1 / film.spacing, q.pose, (0.0, 0.2))
        x, _ = canvas.grid()
        opacity = film.opacity_mask[0].astype(bool)
        right, left = (opacity & (x < 0)).sum(), (opacity & (x > 0)).sum()
        balance = min(right, left) / max(right, left)
        if CLASSES[p.label] == "atypical":
            assert balance < 0.02
        else:
            assert balance > 0.1
        distance[CLASSES[p.label]].append(np.abs(x[opacity]).mean())
    assert min(len(v) for v in distance.values()) > 5
    assert np.mean(distance["typical"]) > np.mean(distance["indeterminate"]) + 1.5


def test_only_the_opacity_tells_the_class():
    """An image with its findings and without differ inside of the opacity, not in the lungs' surroundings."""
    for label in (1, 2, 3):
        patient = sample_patient(5, label, seed=1, size=160)
        q = replace(patient.acquisitions[0], shutter=(0, 0, 0, 0))
        ill, well = render(patient, q), render(replace(patient, findings=()), q)
        change = ill.image - well.image
        inside = ill.opacity_mask.astype(bool)
        assert change[inside].mean() > 0.04
        far = np.zeros_like(inside)
        far[:, : q.height // 8] = True
        assert np.abs(change[far]).mean() < 0.01


# --- files -------------------------------------------------------------------------------------------------------


def test_datalist_schema(phantom):
    folder, datalist, patients = phantom
    assert datalist["name"] == "phantom"
    assert datalist["classes"] == list(CLASSES)
    assert datalist["task"] == "multi_class"
    items = _items(datalist)
    assert len(items) == sum(len(p.acquisitions) for p in patients)
    by_id = {p.patient_id: p for p in patients}
    for item in items:
        p = by_id[item["patient_id"]]
        assert item["label"] == p.label
        assert item["sex"] in ("M", "F")
        assert isinstance(item["age"], int)
        assert item["source"] == "phantom"
        assert item["study_id"] == p.study_id
        assert (folder / item["image"]).is_file()
        assert (folder / item["lung_mask"]).is_file()
        assert (item["opacity_mask"] is None) == (p.label == 0)
        assert item["opacity_mask"] is None or (folder / item["opacity_mask"]).is_file()
    assert len({item["image"] for item in items}) == len(items)


def test_splits_are_by_patient_and_classes_balanced(phantom):
    _, datalist, _ = phantom
    patients = {s: {i["patient_id"] for i in datalist[s]} for s in ("training", "validation", "test")}
    assert not patients["training"] & patients["validation"]
    assert not (patients["training"] | patients["validation"]) & patients["test"]
    assert all(patients.values())
    labels = Counter({i["patient_id"]: i["label"] for i in _items(datalist)}.values())
    assert labels == dict.fromkeys(range(4), PATIENTS // 4)


@pytest.mark.parametrize("patients", [20, 64, 100])
def test_split_fractions(patients):
    everybody = list(iter_patients(patients, 1, 64, (1, 1)))
    split = dataset_module._split_of(everybody)
    for label in range(4):
        own = Counter(split[p.index] for p in everybody if p.label == label)
        total = sum(own.values())
        assert set(own) == {"training", "validation", "test"}
        assert own["training"] / total == pytest.approx(0.6, abs=0.1)


def test_dicom_files_mean_the_rendered_image(phantom):
    """Decoded by pydicom's own modality and VOI functions, a file gives back the rendered image."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    folder, datalist, patients = phantom
    by_id = {p.patient_id: p for p in patients}
    seen = Counter()
    for item in _items(datalist):
        ds = pydicom.dcmread(folder / item["image"])
        number = int(Path(item["image"]).stem.split("_")[1]) - 1
        p = by_id[item["patient_id"]]
        q, film = p.acquisitions[number], render(p, number)
        f = sample_format(q.seed)
        raw = ds.pixel_array
        assert raw.shape == film.image.shape[1:] == (ds.Rows, ds.Columns)
        assert raw.max() < 1 << ds.BitsStored
        values = apply_modality_lut(raw, ds)
        if "WindowCenter" in ds:
            # Every image has pixels beyond both ends of its window, so the output's ends are black and white.
            low, high = float(ds.WindowCenter - ds.WindowWidth / 2), float(ds.WindowCenter + ds.WindowWidth / 2)
            assert values.min() < low < high < values.max()
            values = apply_voi_lut(values.astype(np.float64), ds)
        values = values.astype(np.float64)
        shown = (values - values.min()) / (values.max() - values.min())
        if ds.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        assert np.abs(shown - film.image[0]).max() < 2.0 / (f.high - f.low)

        assert ds.PatientID == item["patient_id"]
        assert ds.ViewPosition == item["view_position"]
        assert ds.PatientSex == item["sex"]
        assert int(ds.PatientAge[:-1]) == item["age"]
        assert ds.SOPClassUID.keyword == {
            "DX": "DigitalXRayImageStorageForPresentation", "CR": "ComputedRadiographyImageStorage"
        }[ds.Modality]  # fmt: skip
        assert ds.BitsAllocated == 16
        assert ds.BitsStored in (12, 16)
        assert float(ds.PixelSpacing[0]) == pytest.approx(film.spacing * 10, abs=1e-5)
        assert ds.BurnedInAnnotation == ("YES" if q.marker else "NO")
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert pydicom.uid.UID(ds.SOPInstanceUID).is_valid
        seen[ds.PhotometricInterpretation] += 1
        seen["windowed" if "WindowCenter" in ds else "bare"] += 1
        seen[ds.BitsStored] += 1
        seen[ds.file_meta.TransferSyntaxUID.name] += 1
        seen["rescaled"] += float(ds.get("RescaleSlope", 1)) != 1
    for kind in ("MONOCHROME1", "MONOCHROME2", "windowed", "bare", 12, 16, "RLE Lossless", "rescaled"):
        assert seen[kind] > 0, seen


def test_uids_are_unique_and_studies_shared(phantom):
    pydicom = pytest.importorskip("pydicom")
    folder, datalist, _ = phantom
    studies, instances = defaultdict(set), set()
    for item in _items(datalist):
        ds = pydicom.dcmread(folder / item["image"], stop_before_pixels=True)
        studies[item["patient_id"]].add(ds.StudyInstanceUID)
        instances.add(ds.SOPInstanceUID)
    assert len(instances) == len(_items(datalist))
    assert all(len(uids) == 1 for uids in studies.values())
    assert len(set.union(*studies.values())) == len(studies)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_stored_values(bits, windowed, inverted):
    top = (1 << bits) - 1
    f = StoredFormat("CR", bits, inverted, windowed, 1.0, 0.0, False, top // 10, top * 8 // 10)
    image = np.linspace(0, 1, 256, dtype=np.float32).reshape(2, 128)
    stored = store_pixels(image, f).astype(np.int64)
    ramp = (top - stored if inverted else stored).ravel()
    assert stored.max() <= top
    assert (np.diff(ramp) >= 0).all()
    inner = slice(1, -1)
    np.testing.assert_allclose(
        (ramp[inner] - f.low) / (f.high - f.low), image.ravel()[inner], atol=1.0 / (f.high - f.low)
    )
    assert (ramp[0] < f.low) == windowed
    assert (ramp[-1] > f.high) == windowed


def test_masks_on_disk_equal_the_rendered_ones(phantom):
    nibabel = pytest.importorskip("nibabel")
    import cv2

    folder, datalist, patients = phantom
    by_id = {p.patient_id: p for p in patients}
    kinds = Counter()
    for item in _items(datalist):
        film = render(by_id[item["patient_id"]], int(Path(item["image"]).stem.split("_")[1]) - 1)
        for key, expected in (("lung_mask", film.lung_mask), ("opacity_mask", film.opacity_mask)):
            if item[key] is None:
                continue
            path = folder / item[key]
            if path.suffix == ".png":
                found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) // 255
            else:
                image = nibabel.load(path)
                # Axis 0 runs to the patient's left (RAS -x ... as ITK writes it), axis 1 to the feet.
                step = film.spacing * 10
                np.testing.assert_allclose(image.affine, np.diag([-step, -step, 1, 1]), rtol=1e-5)
                assert nibabel.aff2axcodes(image.affine)[:2] == ("L", "P")
                found = np.asarray(image.dataobj).T
            np.testing.assert_array_equal(found, expected[0])
            kinds[path.suffix] += 1
    assert kinds[".png"] > 0
    assert kinds[".gz"] > 0


def test_nifti_masks_agree_with_itk(phantom):
    itk = pytest.importorskip("itk")
    folder, datalist, _ = phantom
    path = next(folder / i["lung_mask"] for i in _items(datalist) if i["lung_mask"].endswith(".nii.gz"))
    image = itk.imread(str(path))
    nibabel = pytest.importorskip("nibabel")
    np.testing.assert_array_equal(itk.array_from_image(image).squeeze(), np.asarray(nibabel.load(path).dataobj).T)
    np.testing.assert_allclose(np.asarray(image.GetDirection()), np.eye(np.asarray(image.GetDirection()).shape[0]))


# --- determinism, idempotence, atomicity -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_same_seed_gives_the_same_bytes(phantom, tmp_path, workers):
    folder, _, _ = phantom
    make_phantom_dataset(tmp_path / "again", PATIENTS, SEED, SIZE, progress=False, workers=workers)
    assert _digests(tmp_path / "again") == _digests(folder)


def test_another_seed_gives_other_images(tmp_path):
    a, b = (
        make_phantom_dataset(tmp_path / str(s), 4, seed=s, size=64, images_per_patient=(1, 1), progress=False)
        for s in (0, 1)
    )
    first, second = _digests(a.parent), _digests(b.parent)
    shared = [name for name in first if name in second and name.startswith("images")]
    assert all(first[name] != second[name] for name in shared)


def test_a_complete_set_is_left_alone(tmp_path, monkeypatch):
    arguments = {"patients": 4, "seed": 1, "size": 64, "images_per_patient": (1, 2), "progress": False}
    path = make_phantom_dataset(tmp_path / "set", **arguments)
    stamp = path.stat().st_mtime_ns
    monkeypatch.setattr(dataset_module, "draw_patients", lambda *a, **k: pytest.fail("rendered again"))
    assert make_phantom_dataset(tmp_path / "set", **arguments) == path
    assert path.stat().st_mtime_ns == stamp


def test_a_damaged_or_different_set_is_made_anew(tmp_path):
    arguments = {"patients": 4, "seed": 1, "size": 64, "images_per_patient": (1, 1), "progress": False}
    path = make_phantom_dataset(tmp_path / "set", **arguments)
    before = _digests(path.parent)
    next(path.parent.rglob("*.dcm")).unlink()
    make_phantom_dataset(tmp_path / "set", **arguments)
    assert _digests(path.parent) == before
    make_phantom_dataset(tmp_path / "set", **{**arguments, "seed": 2})
    assert _digests(path.parent) != before
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    real, calls = drawing.write_patient, []

    def fail_late(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(drawing, "write_patient", fail_late)
    with pytest.raises(OSError, match="No space left"):
        make_phantom_dataset(tmp_path / "set", 6, size=64, images_per_patient=(1, 1), progress=False, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_process_is_raised_here(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        list(drawing.draw_patients(tmp_path / "file", list(iter_patients(4, size=64)), {"size": 64}, (0,), 2))


def test_a_process_that_is_ended_is_told(tmp_path, monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    drawn = drawing.draw_patients(tmp_path, list(iter_patients(16, size=64)), {"size": 64}, (0,), 2)
    next(drawn)
    for process in started:
        process.kill()
    with pytest.raises(ConfigurationError, match="ended with status"):
        list(drawn)
    assert all(process.poll() is not None for process in started)


def test_processes_neither_run_the_caller_again_nor_import_torch(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom monai_cxrssl.phantom import make_phantom_dataset\nprint('begun')\n"
        f"make_phantom_dataset({str(tmp_path / 'set')!r}, 4, size=64, progress=False, workers=2)\n"
        "print('torch' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["begun", "False"]


@pytest.mark.parametrize("name", ["thesis.txt", "manifest.json"])
def test_foreign_files_are_never_replaced(tmp_path, name):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(ConfigurationError, match=name):
        make_phantom_dataset(tmp_path, 4, size=64, progress=False)
    assert (tmp_path / name).read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    path = make_phantom_dataset(folder, 4, size=64, images_per_patient=(1, 1), progress=False)
    assert path.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patients": 0}, "at least 1 patient"),
        ({"size": 10}, "at least 64 pixels"),
        ({"images_per_patient": (3, 2)}, "images_per_patient"),
        ({"images_per_patient": (0, 2)}, "images_per_patient"),
        ({"workers": 0}, "workers"),
    ],
)
def test_impossible_arguments(tmp_path, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make_phantom_dataset(tmp_path / "set", **{"patients": 2, "size": 64, "progress": False, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_nifti_bytes_carry_no_time(phantom):
    folder, datalist, _ = phantom
    path = next(folder / i["lung_mask"] for i in _items(datalist) if i["lung_mask"].endswith(".nii.gz"))
    assert path.read_bytes()[4:8] == b"\0\0\0\0"
    assert len(gzip.decompress(path.read_bytes())) > 352
