import runpy
import sys
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from scipy import ndimage

from losslab.data._images import OnImage
from runlab.extras.classification.prediction import predict
from runlab.extras.classification.prediction.display import (
    MAX_ROWS,
    check_target,
    prediction_figure,
    text_bars,
)
from runlab.extras.classification.prediction.predict import find_images, network_inputs
from runlab.extras.classification.prediction.preprocessing import Drawing, read_drawing
from tests.attacks import CALLED, attacks, nested
from tests.compose import ROOT, compose

SCRIPT = str(ROOT / "scripts" / "predict.py")
SHAPE = (1, 28, 28)


def seven(canvas=300, height=160, at=(70, 50), ink=0, paper=255, mode="L", stroke=0.12):
    """A 7 of that height, its upper left corner at a place on the canvas."""
    image = Image.new(mode, (canvas, canvas), paper)
    corners = [(at[0] + x * height, at[1] + y * height) for x, y in ((0, 0), (0.6, 0), (0.2, 1))]
    ImageDraw.Draw(image).line(corners, fill=ink, width=round(stroke * height), joint="curve")
    return image


@pytest.fixture
def preprocess(tmp_path):
    """What `read_drawing` makes of an image saved under that name, as numbers from 0 to 1."""

    def save_and_read(image, name="drawing.png", shape=SHAPE, margin=None, **options):
        image.save(tmp_path / name, **options)
        return read_drawing(tmp_path / name, shape, margin).pixels[0].numpy() / 255

    return save_and_read


def centre(drawing):
    return np.array(ndimage.center_of_mass(drawing))


def box(drawing):
    rows, columns = drawing.any(axis=1).nonzero()[0], drawing.any(axis=0).nonzero()[0]
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def alike(first, second, tolerance=0.06):
    return np.abs(first - second).mean() <= tolerance


def test_a_drawing_has_the_form_of_mnist(preprocess):
    drawing = preprocess(seven())
    assert max(box(drawing)) == 20
    assert np.abs(centre(drawing) - 14).max() <= 0.5
    assert drawing.max() == 1
    assert drawing[0].max() == 0
    assert 0.05 < drawing.mean() < 0.3


def test_an_image_of_that_form_is_left_nearly_as_it_is(preprocess):
    drawing = preprocess(seven())
    again = preprocess(Image.fromarray((255 * drawing).astype(np.uint8)))
    assert alike(drawing, again)


def test_dark_on_light_and_light_on_dark_are_the_same(preprocess):
    assert alike(preprocess(seven()), preprocess(ImageOps.invert(seven())), tolerance=0.001)


@pytest.mark.parametrize(
    "other",
    [
        {"at": (10, 120)},
        {"height": 60},
        {"canvas": 1500, "height": 900, "at": (400, 500)},
        {"ink": 150},
        {"ink": 40, "paper": 90},
    ],
    ids=["place", "size", "large", "faint", "dark"],
)
def test_place_size_and_contrast_do_not_matter(preprocess, other):
    assert alike(preprocess(seven()), preprocess(seven(**other)))


@pytest.mark.parametrize(
    ("mode", "ink", "paper"),
    [
        ("RGB", "red", "green"),
        ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        ("LA", (0, 255), (255, 255)),
        ("P", 3, 17),
        ("1", 0, 1),
        ("I;16", 100, 4000),
    ],
    ids=lambda value: str(value),
)
def test_every_kind_of_image_file_is_read(preprocess, mode, ink, paper):
    image = seven(ink=ink, paper=paper, mode=mode)
    if mode == "P":
        image.putpalette(np.arange(768).astype(np.uint8).tobytes())
    assert alike(preprocess(seven()), preprocess(image), tolerance=0.01)


def test_noise_on_a_blank_sheet_of_16_bits_is_no_drawing(preprocess):
    noise = np.random.default_rng(0).integers(60_000, 60_003, (50, 50)).astype(np.uint16)
    with pytest.raises(ValueError, match="nothing that stands out from its background"):
        preprocess(Image.fromarray(noise))


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "a.jpg"), ("F", "a.tiff"), ("I", "b.tiff"), ("L", "a.gif")]
)
def test_every_format_is_read(preprocess, mode, name):
    assert alike(preprocess(seven()), preprocess(seven().convert(mode), name), tolerance=0.02)


def test_a_rotated_photo_is_turned_upright(preprocess):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the image must be turned by 90° clockwise
    turned = preprocess(seven().rotate(90), "photo.jpg", exif=exif)
    assert alike(preprocess(seven()), turned, tolerance=0.02)


def test_noise_shade_blur_and_dust_are_no_ink(preprocess):
    photo = np.asarray(seven(ink=60, paper=220).filter(ImageFilter.GaussianBlur(1)), float)
    shade = 1 - 0.4 * np.linspace(0, 1, 300)
    noise = np.random.RandomState(0).normal(0, 8, photo.shape)
    photo = (photo * shade + noise).clip(0, 255).astype(np.uint8)
    photo[5:8, 290:293] = 0
    assert alike(preprocess(seven()), preprocess(Image.fromarray(photo), "photo.jpg", quality=50))


def test_a_thin_line_is_thickened_until_a_network_can_see_it(preprocess):
    thin = preprocess(seven(canvas=1000, height=800, at=(100, 100), stroke=0.005))
    assert max(box(thin)) == 20
    assert 1.2 < 4 * ndimage.distance_transform_edt(thin > 0.5)[thin > 0.5].mean() / 2 < 3


def test_the_form_follows_the_shape_and_the_margin(preprocess):
    wide = preprocess(seven(), shape=(1, 32, 48), margin=2)
    assert wide.shape == (32, 48)
    assert max(box(wide)) == 28
    assert max(box(preprocess(seven(), margin=0))) == 28


def test_a_drawing_may_touch_the_edge_but_is_never_cut(preprocess):
    heavy_top = Image.new("L", (100, 200), 255)
    ImageDraw.Draw(heavy_top).polygon([(10, 10), (90, 10), (50, 190)], fill=0)
    drawing = preprocess(heavy_top, margin=0)
    assert box(drawing)[0] == 28


@pytest.mark.parametrize("size", [(300, 300), (1, 1), (1, 40), (2, 2)])
@pytest.mark.parametrize("grey", [0, 200, 255])
def test_a_blank_image_is_refused(preprocess, size, grey):
    with pytest.raises(ValueError, match=r"expected a drawing in .*drawing\.png"):
        preprocess(Image.new("L", size, grey))


def test_a_photo_of_blank_paper_is_refused(preprocess):
    shade = 230 * (1 - 0.3 * np.linspace(0, 1, 200)) * np.ones((200, 1))
    paper = shade + np.random.RandomState(0).normal(0, 4, shade.shape)
    with pytest.raises(ValueError, match="expected a drawing in"):
        preprocess(Image.fromarray(paper.astype(np.uint8)))


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    seven().save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=rf"{name}, got a file that Pillow cannot read"):
            read_drawing(tmp_path / name, SHAPE)
    with pytest.raises(ValueError, match=r"none\.png, got no such file"):
        read_drawing(tmp_path / "none.png", SHAPE)


def test_a_network_for_colours_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one channel.*got one for 3"):
        read_drawing(tmp_path / "any.png", (3, 32, 32))


@pytest.mark.parametrize("margin", [-1, 14])
def test_a_margin_that_leaves_no_place_is_refused(tmp_path, margin):
    with pytest.raises(ValueError, match=f"margin of 0 to 13 .* got {margin}"):
        read_drawing(tmp_path / "any.png", SHAPE, margin)


def test_places_may_be_files_folders_and_patterns(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", "ours.png"):
        (tmp_path / name).touch()
    a, b, ours = (tmp_path / name for name in ("a.JPG", "b.png", "ours.png"))
    assert find_images([str(tmp_path)], exclude=ours) == [a, b]
    assert find_images([str(tmp_path / "*.png")]) == [b, ours]
    assert find_images([str(b), str(tmp_path)]) == [b, a, ours]


def test_a_place_without_images_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=rf"images in the folder {tmp_path}, found none"):
        find_images([str(tmp_path)])
    with pytest.raises(ValueError, match=r"none\.png, got no such file"):
        find_images([str(tmp_path / "none.png")])


def test_bars_are_as_long_as_probabilities():
    text = text_bars("a.png", torch.tensor([0.25, 0.7475, 0.0025]), ["cat", "dog", "axolotl"])
    assert text.splitlines() == [
        "a.png: dog (74.8%)",
        "  cat      ████████████▌                                       25.0%",
        "  dog      █████████████████████████████████████▍              74.8%",
        "  axolotl  ▏                                                    0.2%",
    ]


def test_bars_are_plain_where_the_terminal_is():
    text = text_bars("é.png", torch.tensor([0.9, 0.1]), ["0", "1"], encoding="ascii")
    assert text.splitlines() == [
        r"\xe9.png: 0 (90.0%)",
        "  0  #############################################       90.0%",
        "  1  #####                                               10.0%",
    ]


def test_bars_fit_the_terminal():
    names = ["a name that is much longer than anyone would give to a class", "b"]
    lines = text_bars("a.png", torch.tensor([1.0, 0.0]), names).splitlines()[1:]
    assert [len(line) for line in lines] == [80, 80]


def test_a_picture_has_a_row_for_each_image():
    original = np.full((300, 200, 3), 255, np.uint8)
    drawings = [Drawing(original, torch.zeros(1, 28, 28, dtype=torch.uint8), 1)] * 2
    figure = prediction_figure(
        ["$a", "b"], drawings, torch.tensor([[0.2, 0.8], [1.0, 0.0]]), ["no", "yes"]
    )
    assert [axes.get_title() for axes in figure.axes[::3]] == ["$a", "b"]
    assert [axes.get_title() for axes in figure.axes[1::3]] == ["seen as 28 × 28 pixels"] * 2
    assert [axes.get_title(loc="left") for axes in figure.axes[2::3]] == [
        "yes (80.0%)",
        "no (>99.9%)",
    ]
    assert [axes.images[0].get_array().shape for axes in figure.axes[:2]] == [
        (300, 200, 3),
        (28, 28),
    ]
    lengths = [bar.get_width() for bar in figure.axes[2].patches]
    assert lengths == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.png", "there.png exists.*overwrite=true"),
        ("new.abc", r"one of .*\.png.* got 'new\.abc'"),
        ("none/new.png", "expected an existing folder"),
        ("image.png", "got one of the images"),
        ("folder.png", "exists"),
    ],
)
def test_a_picture_that_may_not_be_written_is_refused_beforehand(tmp_path, name, message):
    for existing in ("there.png", "image.png"):
        (tmp_path / existing).touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=message):
        check_target(tmp_path / name, [tmp_path / "image.png"], overwrite=name != "there.png")


def test_a_picture_of_too_many_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at most 100 images"):
        check_target(
            tmp_path / "new.png", [tmp_path / "image.png"] * (MAX_ROWS + 1), overwrite=False
        )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a network that never saw an image, and calls everything 3."""
    path = tmp_path_factory.mktemp("run") / "loss=mse,lr=0.1.ckpt"
    config = OmegaConf.to_container(compose("model=linear"), resolve=True)
    parts = {"network": "model", "loss": "loss", "optimizer": "optimizer"}
    classifier = instantiate(config["module"], _partial_=True)(
        **{part: instantiate(config[key]) for part, key in parts.items()}
    )
    for parameter in classifier.parameters():
        torch.nn.init.constant_(parameter, 0.0)
        if parameter.ndim == 1:
            parameter.data[3] = 2.0
    torch.save(
        {"hyper_parameters": {"config": config}, "state_dict": classifier.state_dict()}, path
    )
    return path


def settings(checkpoint, images, **others):
    defaults = {"picture": None, "overwrite": False, "margin": None}
    given = {"checkpoint": str(checkpoint), "images": images}
    return OmegaConf.create(defaults | given | others)


def test_what_was_asked_for_is_printed_and_drawn(checkpoint, tmp_path, capsys):
    seven().save(tmp_path / "seven.png")
    target = tmp_path / "prediction.png"
    predict(settings(checkpoint, str(tmp_path), picture=str(target)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'seven.png'}: 3 (45.1%)"  # e² / (e² + 9)
    assert len(lines) == 13
    with Image.open(target) as drawn:
        assert drawn.size[0] == 1350

    with pytest.raises(ValueError, match=r"prediction\.png exists"):
        predict(settings(checkpoint, str(tmp_path), picture=str(target)))
    predict(settings(checkpoint, str(tmp_path), picture=str(target), overwrite=True))


def test_what_shows_no_drawing_does_not_stop_the_others(checkpoint, tmp_path, capsys):
    seven().save(tmp_path / "seven.png")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("hello")
    images = [str(tmp_path / f"{name}.png") for name in ("blank", "seven", "text")]
    with pytest.raises(SystemExit) as left_out:
        predict(settings(checkpoint, images, picture=str(tmp_path / "p.png")))
    assert [line.partition(",")[0] for line in left_out.value.code.splitlines()] == [
        f"expected a drawing in {tmp_path / 'blank.png'}",
        f"expected an image in {tmp_path / 'text.png'}",
    ]
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path / 'seven.png'}: 3 (45.1%)")
    assert printed.endswith(f"\npicture: {tmp_path / 'p.png'}\n")
    (tmp_path / "p.png").unlink()
    with pytest.raises(SystemExit):
        predict(settings(checkpoint, images[::2], picture=str(tmp_path / "p.png")))
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "p.png").exists()


def test_several_shapes_in_one_image_are_warned_of(checkpoint, tmp_path, caplog):
    two = seven(canvas=400, at=(20, 50))
    two.paste(seven(canvas=180, at=(40, 0)), (220, 50))
    two.save(tmp_path / "two.png")
    dotted = Image.new("L", (100, 200), 255)
    draw = ImageDraw.Draw(dotted)
    draw.line([(50, 70), (50, 180)], fill=0, width=14)
    draw.ellipse([42, 30, 58, 46], fill=0)
    dotted.save(tmp_path / "i.png")
    seven().save(tmp_path / "seven.png")
    shapes = {name: read_drawing(tmp_path / f"{name}.png", SHAPE).shapes
              for name in ("two", "i", "seven")}  # fmt: skip
    assert shapes == {"two": 2, "i": 1, "seven": 1}
    predict(settings(checkpoint, str(tmp_path)))
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'two.png'} shows 2 shapes apart from each other, which were read as one: "
        "give each an image of its own"
    ]


def test_a_diverged_network_is_named(checkpoint, tmp_path):
    seven().save(tmp_path / "seven.png")
    content = torch.load(checkpoint, weights_only=True)
    for weights in content["state_dict"].values():
        if weights.is_floating_point():
            weights.fill_(float("nan"))
    torch.save(content, tmp_path / "diverged.ckpt")
    with pytest.raises(ValueError, match="got NaN: it diverged"):
        predict(settings(tmp_path / "diverged.ckpt", str(tmp_path / "seven.png")))


def test_a_module_that_predicts_no_probabilities_is_named(monkeypatch, tmp_path):
    (tmp_path / "a.ckpt").touch()
    monkeypatch.setattr("runlab.runs.checkpoint.load", lambda path: (L.LightningModule(), {}))
    with pytest.raises(ValueError, match=r"predict_probabilities.* got LightningModule"):
        predict(settings(tmp_path / "a.ckpt", "seven.png"))


def test_a_received_checkpoint_calls_nothing_that_it_names(checkpoint, tmp_path, capsys):
    seven().save(tmp_path / "seven.png")
    content = torch.load(checkpoint, weights_only=True)
    config, received = content["hyper_parameters"]["config"], tmp_path / "received.ckpt"
    found = attacks(tmp_path)
    for place in ("module", "model", "loss", "data"):
        for node in [*found.values(), *nested(config[place], found["function"])]:
            node = {**node, "shape": SHAPE} if place == "data" else node
            changed = {**content, "hyper_parameters": {"config": {**config, place: node}}}
            torch.save(changed, received)
            with pytest.raises(ValueError, match=rf"(expected|cannot import) {place}"):
                predict(settings(received, str(tmp_path / "seven.png")))
            assert not (tmp_path / CALLED).exists(), node
    assert capsys.readouterr().out == ""


def test_no_images_say_what_to_give(checkpoint):
    with pytest.raises(ValueError, match=r"expected images=….*a list"):
        predict(settings(checkpoint, "???"))


@pytest.mark.parametrize("result", [torch.uint8, torch.float32])
def test_images_pass_through_the_transform_of_validation(result):
    def half(image):
        assert image.mode == "L"
        return torch.full((1, 28, 28), 128).to(result)

    transform = OnImage(half)
    data = SimpleNamespace(eval_transform=transform, normalize=lambda images: images.float() - 1)
    network_images = network_inputs(data, torch.zeros(3, 1, 28, 28, dtype=torch.uint8))
    assert network_images.unique().tolist() == [127 if result is torch.uint8 else 128]


def test_a_transform_that_changes_the_size_is_refused():
    data = SimpleNamespace(eval_transform=lambda image: torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"data\.eval_transform to keep.* got \(1, 2, 2\)"):
        network_inputs(data, torch.zeros(3, 1, 28, 28, dtype=torch.uint8))


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Calls the script with these arguments, within this process, from a folder of its own."""

    def call(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
        runpy.run_path(SCRIPT, run_name="__main__")

    return call


def test_the_script_takes_paths_as_they_are_and_leaves_only_the_picture(
    checkpoint, script, tmp_path, capsys
):
    seven().save(tmp_path / "my seven, drawn.png")
    script(f"checkpoint={checkpoint}", "images=my seven, drawn.png", "picture=p.png")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("my seven, drawn.png: 3 (45.1%)\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my seven, drawn.png", "p.png"]


def test_the_script_says_a_mistake_in_one_sentence(checkpoint, script, capsys):
    with pytest.raises(SystemExit) as exit:
        script(f"checkpoint='{checkpoint}'", "images=none.png")
    assert exit.value.code == "expected an image at none.png, got no such file"
    assert capsys.readouterr() == ("", "")
