"""The eval command: layouts, reports, comparisons, and a sentence for everything that can be wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layercli.cli.gathering import gather
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import save_png
from layercli.core.receipt import Receipt
from layercli.formats import ora, png, psd
from tests.cli.conftest import Run
from tests.evaluate.samples import SIDE, ground, square

QUICK = "recomposition,leakage,layers,health,seam"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def stack(count: int = 1, seed: int = 0, shift: int = 0) -> LayerStack:
    layers = [Layer(name="background", rgba=ground(seed))]
    layers += [
        Layer(name=f"cat {i}", rgba=square(14), offset=Offset(4 + 12 * i + shift, 10 + seed), prompt="a cat")
        for i in range(count)
    ]
    request = {"foregrounds": ["a cat"] * count, "background": "a sofa", "seed": seed}
    receipt = Receipt(request=request, seconds=1.0 + seed)
    return LayerStack(canvas=Size(SIDE, SIDE), layers=tuple(layers), receipt=receipt)


@pytest.fixture
def pictures(here: Path) -> Path:
    """Six PSDs: five of two layers, one of three."""
    folder = here / "pictures"
    folder.mkdir()
    for seed in range(6):
        psd.write(stack(2 if seed == 5 else 1, seed), folder / f"{seed}.psd", psd.Options())
    return folder


def scores(told: str) -> dict[tuple[str, str, str], dict]:
    return {(s["metric"], s["part"], s["layers"]): s for s in json.loads(told)["scores"]}


def test_a_folder_is_scored_with_or_without_the_word_run(run: Run, pictures: Path):
    short = run("eval", "pictures", "--metrics", QUICK, "--json")
    long = run("eval", "run", "pictures", "--metrics", QUICK, "--json")
    assert short.exit_code == 0, short.output
    assert scores(short.stdout) == scores(long.stdout)
    found = scores(short.stdout)
    assert found["recomposition.max", "composite", "all"]["value"] <= 1
    assert found["layers.count", "composite", "all"]["value"] == 1
    assert found["layers.count", "composite", "2"]["n"] == 5
    assert found["layers.count", "composite", "3"]["n"] == 1
    assert found["layers.count", "composite", "3"]["low"] is None  # one sample has no interval
    assert found["health.cut", "foreground", "all"]["settings"]["options"]["edge"] == 0.05


def test_every_report_is_written_and_complete(run: Run, here: Path, pictures: Path):
    outs = [word for suffix in ("json", "html", "csv", "tex") for word in ("-o", f"report.{suffix}")]
    done = run("eval", "pictures", "--metrics", QUICK, *outs)
    assert done.exit_code == 0, done.output
    document = json.loads((here / "report.json").read_text())
    assert document["layercli_eval"] == 1 and document["run"]["read"] == 6
    assert len(document["run"]["sha256"]) == 64 and "numpy" in document["versions"]
    page = (here / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 5 and "<svg" in page
    assert not re.search(r"(src|href)=['\"]?(http|//)", page)
    rows = (here / "report.csv").read_text().splitlines()
    assert len(rows) == len(document["scores"]) + 1 and rows[0].startswith("metric,value,better,n")
    table = (here / "report.tex").read_text()
    assert table.count(r"\\") == len({(s["metric"], s["part"]) for s in document["scores"]}) + 1
    assert "recomposition.psnr ↑" in done.stdout


def test_files_that_cannot_be_read_are_counted_and_fail(run: Run, pictures: Path):
    (pictures / "broken.psd").write_bytes(b"8BPS nothing")
    done = run("eval", "pictures", "--metrics", "layers,health", "--json")
    assert done.exit_code == 0, done.output
    assert "1 of 7 samples could not be read" in done.stderr
    found = scores(done.stdout)
    count = found["layers.count", "composite", "all"]
    assert (count["n"], count["skipped"], count["value"]) == (6, 1, 1)
    assert count["failing"] == pytest.approx(6 / 7)
    assert "broken" in json.loads(done.stdout)["unreadable"]


def test_odd_files_are_unreadable_samples_and_not_a_crash(run: Run, pictures: Path):
    """Links to nowhere, emptied and scrambled files, pipes, and names of any script."""
    (pictures / "0.psd").rename(pictures / "ünï <b>|日本\n.psd")
    (pictures / "dangling.psd").symlink_to(pictures / "nowhere.psd")
    (pictures / "loop.psd").symlink_to(pictures / "loop.psd")
    (pictures / "empty.ora").write_bytes(b"")
    (pictures / "cut <i>|日本.psd").write_bytes((pictures / "1.psd").read_bytes()[:2000])
    ora.write(stack(), pictures / "scrambled.ora", ora.Options())
    whole = (pictures / "scrambled.ora").read_bytes()
    (pictures / "scrambled.ora").write_bytes(whole[:200] + bytes(200) + whole[400:])
    (pictures / "text.tif").write_bytes(b"II*\0nothing")
    os.mkfifo(pictures / "pipe.psd")
    done = run("eval", "pictures", "--metrics", "layers", "--json", "-o", "a.html", "-o", "a.tex")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    bad = {"dangling", "loop", "empty", "cut <i>|日本", "scrambled", "text"}
    assert set(told["unreadable"]) == bad and all(told["unreadable"].values())
    assert scores(done.stdout)["layers.count", "composite", "all"]["n"] == 6
    page = Path("a.html").read_text(encoding="utf-8")
    assert "cut &lt;i&gt;|日本" in page and "<i>" not in page


def test_a_folder_may_be_a_link_and_hold_thousands(run: Run, here: Path):
    (here / "many").mkdir()
    picture = np.ones((8, 8, 4), np.float32)
    picture[2:6, 2:6, :3] = 0
    save_png(here / "one.png", picture)
    for number in range(3000):
        (here / "many" / f"{number}.png").symlink_to(here / "one.png")
    (here / "link").symlink_to(here / "many")
    found, layout = gather(here / "link")
    assert len(found.entries) == 3000 and layout == "pictures"
    assert [entry.name for entry in found.entries[:3]] == ["0", "1", "2"]
    assert found.entries[2999].load().count == 1


def layouts(here: Path) -> dict[str, Path]:
    """The same two samples in every layout."""
    stacks = {"one": stack(1), "two": stack(2, 1)}
    folders = {
        name: here / name for name in ("files", "manifests", "parts", "numbered", "layerdiffuse", "pictures")
    }
    for folder in folders.values():
        folder.mkdir()
    for part in ("fg", "bg", "composite"):
        (folders["parts"] / part).mkdir()
    for name, made in stacks.items():
        ora.write(made, folders["files"] / f"{name}.ora", ora.Options())
        png.write(made, folders["manifests"] / f"{name}.layers", png.Options())
        save_png(folders["parts"] / "bg" / f"{name}.png", made.placed(0))
        save_png(folders["parts"] / "composite" / f"{name}.png", made.flatten())
        (folders["numbered"] / name).mkdir()
        for index in range(len(made.layers)):
            save_png(folders["numbered"] / name / f"{index}.png", made.placed(index))
            if index:
                ending = "" if len(made.layers) == 2 else f"_{index - 1}"
                save_png(folders["parts"] / "fg" / f"{name}{ending}.png", made.placed(index))
        save_png(folders["layerdiffuse"] / f"t2i_{name}_transparent.png", made.placed(1))
        save_png(folders["layerdiffuse"] / f"t2i_{name}_visualization.png", made.placed(1)[..., :3])
        save_png(folders["pictures"] / f"{name}.png", made.flatten()[..., :3])
    return folders


def test_every_layout_is_known_by_its_look(run: Run, here: Path):
    for layout, folder in layouts(here).items():
        done = run("eval", folder.name, "--metrics", "layers,health,recomposition", "--json")
        if layout == "pictures":
            assert done.exit_code == 2 and "it has no foreground" in done.stderr
            continue
        assert done.exit_code == 0, f"{layout}: {done.output}"
        told = json.loads(done.stdout)
        assert told["run"]["layout"] == ("files" if layout == "manifests" else layout)
        counts = {"1": 2} if layout == "layerdiffuse" else {"2": 1, "3": 1}
        assert told["run"]["layer_counts"] == counts, layout
        if layout in ("files", "manifests", "parts"):
            assert scores(done.stdout)["recomposition.max", "composite", "all"]["value"] <= 1


def test_one_sample_that_lies_in_the_folder_itself(run: Run, here: Path):
    folders = layouts(here)
    done = run("eval", str(folders["numbered"] / "two"), "--metrics", "layers", "--json")
    assert json.loads(done.stdout)["run"]["layout"] == "single"
    assert json.loads(done.stdout)["run"]["layer_counts"] == {"3": 1}


def test_against_the_truth_and_against_another_run(run: Run, here: Path, pictures: Path):
    (here / "worse").mkdir()
    for seed in range(6):
        made = stack(2 if seed == 5 else 1, seed, shift=3)
        psd.write(made, here / "worse" / f"{seed}.psd", psd.Options())
    metrics = ("--metrics", "alpha,decomposition,harmony", "--reference", "pictures")
    done = run("eval", "worse", *metrics, "--against", "pictures", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert scores(done.stdout)["alpha.iou", "foreground", "all"]["value"] < 0.8
    rows = {(row["metric"], row["layers"]): row for row in told["against"]["compared"]}
    iou = rows["alpha.iou", "all"]
    assert iou["first"] == pytest.approx(1) and iou["difference"] < -0.2
    assert iou["paired"]["n"] == 6 and iou["paired"]["wins"] == 0 and iou["paired"]["chance"] < 0.05
    flat = run("eval", "pictures", "--metrics", "layers,leakage", "--against", "flat", "--json")
    counts = {r["metric"]: r for r in json.loads(flat.stdout)["against"]["compared"] if r["layers"] == "all"}
    assert counts["layers.count"]["first"] == 0 and counts["layers.count"]["second"] == 1
    table = run("eval", "worse", *metrics, "--against", "pictures")
    assert "difference" in table.stdout


def test_samples_of_one_name_and_other_prompts_are_no_pairs(run: Run, here: Path, pictures: Path):
    (here / "other").mkdir()
    for seed in range(6):
        made = stack(2 if seed == 5 else 1, seed)
        request = {**made.receipt.request, "background": "a beach" if seed < 2 else "a sofa"}
        made = dataclasses.replace(made, receipt=Receipt(request=request))
        psd.write(made, here / "other" / f"{seed}.psd", psd.Options())
    done = run("eval", "pictures", "--metrics", "health", "--against", "other", "--json")
    rows = {(row["metric"], row["layers"]): row for row in json.loads(done.stdout)["against"]["compared"]}
    assert rows["health.soft", "all"]["paired"]["n"] == 4
    assert "2 samples of one name have other prompts" in rows["health.soft", "all"]["note"]


def test_reports_of_other_settings_are_not_compared(run: Run, here: Path, pictures: Path):
    run("eval", "pictures", "--metrics", "health", "-o", "a.json")
    run("eval", "pictures", "--metrics", "health", "-O", "health.edge=0.2", "-o", "b.json")
    same = run("eval", "compare", "a.json", "a.json", "--json")
    assert same.exit_code == 0
    assert all(row["difference"] == 0 for row in json.loads(same.stdout)["compared"])
    other = run("eval", "compare", "a.json", "b.json")
    assert other.exit_code == 2
    assert "health (options edge: 0.05, 0.2)" in other.stderr


def test_a_report_overwrites_nothing_unless_it_is_forced(run: Run, here: Path, pictures: Path):
    (here / "r.json").write_text("important")
    words = ("eval", "pictures", "--metrics", "layers", "-o", "r.html", "-o", "r.json", "-o", "s.csv")
    told = json.loads(run(*words, "--json").stdout)
    assert told["files"] == ["r-2.html", "r-2.json", "s.csv"]  # one run, one number
    assert (here / "r.json").read_text() == "important" and not (here / "r.html").exists()
    assert json.loads((here / "r-2.json").read_text())["scores"] == told["scores"]
    again = run(*words)
    assert [line for line in again.stderr.splitlines() if line.startswith("Wrote ")] == [
        "Wrote r-3.html", "Wrote r-3.json", "Wrote s-2.csv",
    ]  # fmt: skip
    assert json.loads(run(*words, "--force", "--json").stdout)["files"] == ["r.html", "r.json", "s.csv"]
    assert json.loads((here / "r.json").read_text())["scores"] == told["scores"]


def test_sets_are_compared_by_the_embedded_net_and_features_are_kept(run: Run, cache: Path, pictures: Path):
    words = ("eval", "pictures", "--reference", "pictures", "--metrics", "kid,fid,cmmd,variety", "--json")
    first = run(*words)
    assert first.exit_code == 0, first.output
    found = scores(first.stdout)
    assert found["fid.fid", "composite", "all"]["value"] == pytest.approx(0, abs=1e-6)
    assert "not comparable with published numbers" in first.stderr
    assert "read KID first" in first.stderr
    settings = found["kid.kid", "composite", "all"]["settings"]
    assert settings["n"] == 6 and len(settings["weights"]) == 64 and settings["reference"]
    kept = list((cache / "layercli" / "features").glob("*.npz"))
    assert len(kept) == 1
    again = run(*words)
    assert scores(again.stdout) == found
    kept[0].write_bytes(b"damaged")
    assert scores(run(*words).stdout) == found


def test_what_is_wrong_has_its_sentence(refused, here: Path, pictures: Path):
    (here / "empty").mkdir()
    (here / "note.txt").write_text("hello")
    assert "There is no folder nowhere." in refused("eval", "nowhere")
    assert 'no folder or baseline "nowhere"' in refused(
        "eval", "pictures", "--metrics", "layers", "--against", "nowhere"
    )
    assert "holds no sample" in refused("eval", "empty")
    assert "is a file, not a folder" in refused("eval", "note.txt")
    assert "compares with a reference" in refused("eval", "pictures", "--metrics", "alpha")
    assert 'There is no metric "fud". Did you mean fid?' in refused("eval", "pictures", "--metrics", "fud")
    assert 'health has no option "edgy"' in refused(
        "eval", "pictures", "--metrics", "health", "-O", "health.edgy=1"
    )
    assert "names no metric" in refused("eval", "pictures", "-O", "edge=1")
    assert "A report cannot be a.pdf." in refused("eval", "pictures", "-o", "a.pdf")
    assert 'There is no layout "qwen"' in refused("eval", "pictures", "--layout", "qwen")
    assert "There is no file a.json." in refused("eval", "compare", "a.json", "b.json")
    assert "not a report" in refused("eval", "compare", "note.txt", "note.txt")
    for text, said in (
        ('{"layercli_eval": 99}', "is a report of schema 99, and this version reads 1."),
        ('{"layercli_eval": 1}', "is a damaged report"),
        ('{"layercli_eval": 1, "scores": 3, "samples": {}}', "is a damaged report"),
        ('{"layercli_eval": 1, "scores": [], "samples": {"a": 3}}', "is a damaged report"),
        ('{"layercli_eval": 1, "scores": [{"metric": "a"}], "samples": {}}', "stored score is damaged"),
        ('{"layercli_eval": 1, "scores": [], "samples": {}}', "have no score in common"),
        ("[]", "is not a report"),
    ):
        (here / "v.json").write_text(text)
        assert said in refused("eval", "compare", "v.json", "v.json")
    nan = '{"metric": "a.b", "value": NaN, "better": "lower", "n": 1}'
    (here / "v.json").write_text(f'{{"layercli_eval": 1, "scores": [{nan}], "samples": {{}}}}')
    assert "not a finite number" in refused("eval", "compare", "v.json", "v.json")
    for wrong in ("leakage.band=0", "seam.band=0", "locality.margin=-1", "layers.overlap=0", "health.edge=2"):
        words = ("--metrics", wrong.partition(".")[0], "-O", wrong, "--reference", "pictures")
        assert "Try: -O" in refused("eval", "pictures", *words)
    assert "ceiling=3 is not" in refused("eval", "pictures", "-O", "recomposition.ceiling=3")
    few = ("eval", "pictures", "--metrics", "kid", "--reference")
    (here / "two").mkdir()
    psd.write(stack(), here / "two" / "a.psd", psd.Options())
    assert "KID needs 4 pictures or more, and the reference has 1." in refused(*few, "two")
    assert 'There is no feature net "vgg"' in refused(*few, "pictures", "-O", "kid.net=vgg")
    (here / "broken").mkdir()
    (here / "broken" / "a.psd").write_bytes(b"")
    assert "No sample of broken could be read." in refused("eval", "broken")


def test_what_is_skipped_is_said_with_its_reason(run: Run, refused, here: Path, pictures: Path):
    psd.write(stack(0), pictures / "bare.psd", psd.Options())
    done = run("eval", "pictures", "--metrics", "leakage", "--json")
    assert "leakage skipped 1 of 7 samples: no foreground hides" in done.stderr
    (here / "other").mkdir()
    (here / "other" / "0.psd").write_bytes(b"8BPS")
    assert "The reference of 0 is left out" in refused(
        "eval", "pictures", "--metrics", "alpha", "--reference", "other"
    )
    psd.write(stack(1), here / "other" / "1.psd", psd.Options())
    partly = run("eval", "pictures", "--metrics", "alpha", "--reference", "other", "--json")
    assert scores(partly.stdout)["alpha.iou", "foreground", "all"]["n"] == 1
    assert "The reference of 0 is left out" in partly.stderr


def test_a_biased_score_is_not_compared_across_numbers(run: Run, here: Path, pictures: Path):
    words = ("--metrics", "fid,kid", "--reference", "pictures")
    run("eval", "pictures", *words, "-o", "a.json")
    reference = here / "reference"
    pictures.rename(reference)
    (here / "pictures").mkdir()
    for seed in range(5):
        psd.write(stack(1, seed), here / "pictures" / f"{seed}.psd", psd.Options())
    run("eval", "pictures", "--metrics", "fid,kid", "--reference", "reference", "-o", "b.json")
    told = json.loads(run("eval", "compare", "a.json", "b.json", "--json").stdout)["compared"]
    rows = {(row["metric"], row["part"]): row for row in told if row["layers"] == "all"}
    assert rows["fid.fid", "composite"]["difference"] is None
    assert "biased in N" in rows["fid.fid", "composite"]["note"]
    assert rows["kid.kid", "composite"]["difference"] is not None
    assert "biased in N" in run("eval", "compare", "a.json", "b.json").stdout


def test_what_a_run_cannot_give_is_left_out_of_the_defaults(run: Run, here: Path, pictures: Path):
    """One picture a prompt has no variety; everything else is still scored."""
    for seed in range(1, 6):
        (pictures / f"{seed}.psd").unlink()
    other = dataclasses.replace(stack(2, 3), receipt=Receipt(request={"foregrounds": ["a dog", "a ball"]}))
    psd.write(other, pictures / "other.psd", psd.Options())
    done = run("eval", "pictures", "--json")
    assert done.exit_code == 0, done.output
    assert "variety was left out" in done.stderr
    assert scores(done.stdout)["layers.count", "composite", "all"]["n"] == 2


def test_mixed_sizes_are_said(run: Run, pictures: Path):
    small = dataclasses.replace(stack(), canvas=Size(SIDE - 8, SIDE))
    psd.write(small, pictures / "small.psd", psd.Options())
    done = run("eval", "pictures", "--metrics", "layers")
    assert "Samples are of 2 sizes" in done.stderr


def test_layers_of_several_sizes_make_a_sample_unreadable(run: Run, here: Path):
    (here / "samples" / "a").mkdir(parents=True)
    (here / "samples" / "b").mkdir()
    for name, sides in (("a", (20, 20)), ("b", (20, 21))):
        for index, side in enumerate(sides):
            save_png(here / "samples" / name / f"{index}.png", np.ones((side, 20, 4), np.float32))
    done = run("eval", "samples", "--metrics", "layers", "--json")
    assert "of several sizes" in json.loads(done.stdout)["unreadable"]["b"]


def test_metrics_are_listed_with_their_options(run: Run):
    listed = json.loads(run("eval", "metrics", "--json").stdout)["metrics"]
    assert {"fid", "kid", "cmmd", "alpha", "decomposition", "leakage"} <= {one["metric"] for one in listed}
    assert "subsets" in run("eval", "metrics", "kid").stdout


def test_help_leaves_torch_alone():
    code = (
        "import sys; from typer.testing import CliRunner; from layercli.cli.app import app\n"
        "for words in (['eval'], ['eval', '--help'], ['eval', 'run', '--help'], ['eval', 'metrics']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0, words\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
