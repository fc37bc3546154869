"""Label Studio's back end: brush run lengths, labelling configs, images, and a stand-in that plays recorded calls."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.errors import InputError
from deixis.server.answering import Answerer
from deixis.server.guard import Access
from deixis.server.label_studio import brush
from deixis.server.label_studio.backend import Backend, Settings, routes
from deixis.server.label_studio.config import control_of, sentences_of
from deixis.server.label_studio.images import Images
from tests.server.stub import Redness, Served, photo, serve

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "goldens" / "label_studio_rle.json"
LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "head.refresh.signature"
UPLOAD = "/data/upload/1/42576101-a.png"
BRUSH = """<View>
  <Image name="image" value="$image"/>
  <TextArea name="prompt" toName="image" editable="true" maxSubmissions="1" showSubmitButton="true"/>
  <BrushLabels name="tag" toName="image">
    <Label value="thing"/><Label value="cup" predicted_values="mug, beaker"/>
  </BrushLabels>
</View>"""
CONFIGS = {
    "brush": BRUSH,
    "polygon": BRUSH.replace("BrushLabels", "PolygonLabels"),
    "rectangle": BRUSH.replace("BrushLabels", "RectangleLabels"),
}
# What Label Studio 1.23 sent when a sentence was typed and added.
TYPED = {
    "result": [
        {
            "value": {"text": ["the person in blue"]},
            "id": "6WkfnTrIHm",
            "from_name": "prompt",
            "to_name": "image",
            "type": "textarea",
            "origin": "manual",
        }
    ]
}


def golden_cases() -> list[dict[str, Any]]:
    return json.loads(GOLDEN.read_text())["cases"] if GOLDEN.exists() else []


def mask_of(case: dict[str, Any]) -> np.ndarray:
    if "rows" in case:
        return np.array([[letter == "#" for letter in row] for row in case["rows"]])
    values = [bool(case["first"]) ^ bool(number % 2) for number in range(len(case["runs"]))]
    return np.repeat(values, case["runs"]).reshape(case["height"], case["width"])


@pytest.mark.skipif(not GOLDEN.exists(), reason="The golden file of Label Studio's encoder is not beside the checkout.")
@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case["name"])
def test_brush_run_lengths_are_those_of_the_official_encoder(case: dict[str, Any]) -> None:
    mask = mask_of(case)
    assert mask.sum() == case["foreground"]
    assert brush.encode(mask) == case["rle"]


@pytest.mark.parametrize("seed", range(5))
def test_brush_run_lengths_decode_to_the_mask(seed: int) -> None:
    draw = np.random.default_rng(seed)
    mask = draw.random(draw.integers(1, 40, 2)) < draw.random()
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), *mask.shape), mask)


def test_a_brush_with_literal_values_and_soft_edges_is_read() -> None:
    header = f"{8:032b}00111" + "0010001101111111"
    literal = "0" + "00" + "111" + "".join(f"{value:08b}" for value in (9, 9, 9, 1, 0, 0, 0, 0))
    bits = header + literal
    bits += "0" * (-len(bits) % 8)
    assert brush.decode([int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)], 1, 2).tolist() == [[True, False]]


def test_the_first_brush_then_polygon_then_rectangle_is_answered() -> None:
    rectangle = "<RectangleLabels name='r' toName='i'><Label value='a'/></RectangleLabels>"
    both = f"<View>{rectangle}{{}}<Image name='i' value='$photo'/></View>"
    assert control_of(both.format("")).kind == "rectangle"
    control = control_of(both.format("<BrushLabels name='b' toName='i'><Label value='c'/></BrushLabels>"))
    assert (control.kind, control.from_name, control.to_name, control.image_field) == ("brush", "b", "i", "photo")


@pytest.mark.parametrize(
    ("sentence", "label"),
    [("the red cup", "cup"), ("a big mug here", "cup"), ("the person", "thing"), ("the cupboard", "thing")],
)
def test_a_label_is_found_in_the_sentence(sentence: str, label: str) -> None:
    assert control_of(BRUSH).label_for(sentence) == label


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("", "not readable XML"),
        ("<View><Image name='i' value='$image'/></View>", "no BrushLabels"),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><View>&a;</View>", "not readable XML"),
        ("<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><View>&b;</View>", "not readable XML"),
    ],
)
def test_a_config_that_cannot_be_answered_is_refused(config: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        control_of(config)


def test_where_a_sentence_comes_from() -> None:
    task = {"data": {"image": "x", "text": "the text", "mine": ["one", "two", ""]}}
    assert sentences_of(task, None) == ["the text"]
    assert sentences_of(task, None, "mine") == ["one", "two"]
    assert sentences_of(task, TYPED) == ["the person in blue"]
    point = {"type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 3, "keypointlabels": ["a"]}}
    assert sentences_of(task, {"result": [point]}) == []
    assert sentences_of(task, {"result": [point, *TYPED["result"]]}) == ["the person in blue"]
    assert sentences_of({"data": {}}, None) == []


class LabelStudio(BaseHTTPRequestHandler):
    """The part of Label Studio that hands out images; it records what it was asked and with which token."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        if "presign" in self.path:
            self.send_response(302)
            self.send_header(
                "Location", f"http://{self.headers['Host'].replace('127.0.0.1', 'localhost')}/bucket/a.png"
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/bucket/") or self.headers["Authorization"] in ("Bearer access", f"Token {LEGACY}"):
            self._send(200 if "missing" not in self.path else 404, photo())
        else:
            self._send(401, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body["refresh"]))
        self._send(200 if body["refresh"] == PERSONAL else 401, b'{"access": "access"}')

    def log_message(self, *arguments: Any) -> None:
        pass

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def studio() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    handler = type("Recorded", (LabelStudio,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    server.shutdown()
    server.server_close()


def images(url: str | None = None, **changes: Any) -> Images:
    return Images(**{"most_bytes": 1_000_000, "url": url, "token": PERSONAL, **changes})


def backend(own: Images, model: Redness | None = None, seconds: float = 5.0, **settings: Any) -> Served:
    """A server whose back end reads images through `own`."""
    made: list[Backend] = []
    served = serve(model=model)
    made.append(Backend(served.service, own, Settings(**settings), seconds))
    from starlette.testclient import TestClient

    from deixis.server.app import build

    app = build(served.service, Access(), routes(made[0]))
    served.client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    return served


def predict(served: Served, *data: dict[str, Any], config: str = BRUSH, context: Any = None) -> Any:
    tasks = [
        {"id": number, "data": one, "meta": {}, "project": 1, "annotations": [], "predictions": [], "drafts": []}
        for number, one in enumerate(data, start=1)
    ]
    params = {"login": None, "password": None, "context": context}
    body = {"tasks": tasks, "project": "1.1795853348", "label_config": config, "params": params}
    return served.client.post("/label-studio/predict", json=body)


def test_the_recorded_calls_of_a_project_are_answered(studio: Any) -> None:
    url, asked = studio
    served = backend(images(url))
    for path in ("/label-studio", "/label-studio/", "/label-studio/health"):
        assert served.client.get(path).json() == {"status": "UP", "model_class": "deixis"}
    setup = {
        "project": "1.1795853348",
        "schema": BRUSH,
        "hostname": "http://elsewhere.example:8080",
        "access_token": "f" * 40,
        "extra_params": None,
    }
    version = served.client.post("/label-studio/setup", json=setup).json()["model_version"]
    assert served.client.get("/label-studio/versions").json() == {"versions": [version]}

    batch = predict(
        served, {"image": UPLOAD, "text": "the red cup"}, {"image": UPLOAD, "text": "nothing"}, {"image": UPLOAD}
    )
    found, absent, silent = batch.json()["results"]
    region = found["result"][0]
    assert {"id", "type", "from_name", "to_name", "original_width", "original_height", "value"} <= set(region)
    assert (region["type"], region["from_name"], region["to_name"]) == ("brushlabels", "tag", "image")
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (12, 8, 0)
    assert (region["value"]["format"], region["value"]["brushlabels"]) == ("rle", ["cup"])
    assert brush.decode(region["value"]["rle"], 8, 12).sum() == 12
    assert (found["score"], found["model_version"]) == (1.0, version)
    assert absent == {"result": [], "score": 0.0, "model_version": version}
    assert silent["result"] == []

    typed = predict(served, {"image": UPLOAD}, context=TYPED).json()["results"]
    assert typed[0]["result"][0]["value"]["brushlabels"] == ["thing"]
    point = {"result": [{"type": "keypointlabels", "value": {"x": 1.0, "y": 2.0, "width": 0.5}}]}
    assert predict(served, {"image": UPLOAD}, context=point).json()["results"][0]["result"] == []
    assert {path for path, _ in asked} == {"/api/token/refresh", UPLOAD}
    assert [path for path, _ in asked].count("/api/token/refresh") == 1
    assert {token for path, token in asked if path == UPLOAD} == {"Bearer access"}

    event = {"action": "ANNOTATION_UPDATED", "task": {}, "annotation": {}}
    acknowledged = served.client.post("/label-studio/webhook", json=event)
    assert (acknowledged.status_code, acknowledged.json()) == (201, {"result": None, "status": "ok"})
    unknown = served.client.post("/label-studio/webhook", json={"action": "TASKS_CREATED"})
    assert (unknown.status_code, unknown.json()) == (200, {"status": "Unknown event"})


def test_polygons_and_rectangles_are_in_percent(studio: Any) -> None:
    served = backend(images(studio[0]))
    polygon = predict(served, {"image": UPLOAD, "text": "red"}, config=CONFIGS["polygon"]).json()["results"][0][
        "result"
    ][0]
    assert (polygon["type"], polygon["value"]["closed"]) == ("polygonlabels", True)
    assert sorted(polygon["value"]["points"])[0] == pytest.approx([100 * 2 / 12, 100 * 1 / 8])
    assert polygon["value"]["polygonlabels"] == ["thing"]
    box = predict(served, {"image": UPLOAD, "text": "red"}, config=CONFIGS["rectangle"]).json()["results"][0]["result"][
        0
    ]
    value = {name: round(number, 2) for name, number in box["value"].items() if isinstance(number, float | int)}
    assert value == {"x": 16.67, "y": 12.5, "width": 33.33, "height": 37.5, "rotation": 0}


def test_health_setup_and_versions_answer_while_the_model_loads() -> None:
    loaded = threading.Event()

    class Slow(Redness):
        def mask_rule(self, threshold: float | None = None) -> Any:
            loaded.wait(5)
            return super().mask_rule(threshold)

    from starlette.testclient import TestClient

    from deixis.server.app import build
    from deixis.server.limits import Limits
    from deixis.server.service import Service

    service = Service(Answerer(Slow, Limits()), Limits(), log=lambda line: None)
    client = TestClient(
        build(service, Access(), routes(Backend(service, images(), Settings()))), base_url="http://localhost"
    )
    assert client.get("/label-studio/health").status_code == 200
    assert client.post("/label-studio/setup", json={"schema": BRUSH}).status_code == 200
    loaded.set()


def test_an_image_that_cannot_be_read_leaves_the_others_and_is_asked_for_again(studio: Any) -> None:
    served = backend(images(studio[0]))
    results = predict(
        served, {"image": "/data/upload/1/missing.png", "text": "red"}, {"image": UPLOAD, "text": "red"}
    ).json()["results"]
    assert (results[0]["result"], results[0]["model_version"][-7:]) == ([], "-failed")
    assert len(results[1]["result"]) == 1
    logged = [json.loads(line) for line in served.log if '"level": "error"' in line]
    assert "Label Studio answered 404" in logged[0]["error"]


def test_what_is_finished_is_kept_when_a_list_takes_too_long(studio: Any) -> None:
    served = backend(images(studio[0]), seconds=0.12)
    data = [{"image": UPLOAD, "text": f"slow {number}"} for number in range(4)]
    late = predict(served, *data)
    assert late.status_code == 504
    assert "retrieve predictions again" in late.json()["error"]["message"]
    for _ in range(3):
        late = predict(served, *data)
    assert late.status_code == 200
    assert len(served.model.asked) == 4


@pytest.mark.parametrize("body", [{}, {"tasks": []}, {"tasks": [1]}, {"tasks": [{"id": 1}], "label_config": "<View/>"}])
def test_a_body_without_tasks_or_a_config_is_refused(body: Any) -> None:
    assert backend(images()).client.post("/label-studio/predict", json=body).status_code == 422


def test_the_version_changes_with_the_threshold_and_the_sentence_field() -> None:
    service = serve().service
    settings = (Settings(), Settings(threshold=0.3), Settings(sentence_field="mine"), Settings(default_sentence="cup"))
    assert len({Backend(service, images(), one).version for one in settings}) == 4


def test_basic_authentication_opens_the_back_end() -> None:
    served = serve(Access(token="0123456789abcdef"))
    refused = served.client.get("/label-studio/health")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="deixis"')


def test_a_legacy_token_is_sent_as_such(studio: Any) -> None:
    url, asked = studio
    assert images(url, token=LEGACY).read(UPLOAD, 1) == photo()
    assert asked == [(UPLOAD, f"Token {LEGACY}")]


def test_a_data_url_and_local_files_are_read_without_label_studio(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a b.png").write_bytes(photo())
    own = images(files=tmp_path)
    assert own.read("data:image/png;base64," + base64.b64encode(photo()).decode(), 1) == photo()
    assert own.read("/data/local-files/?d=wrong.png&d=deep/a%20b.png", 1) == photo()


def test_a_storage_is_asked_through_label_studio_and_without_the_token(studio: Any) -> None:
    url, asked = studio
    storage = url.replace("http://127.0.0.1", "localhost")
    with pytest.raises(InputError, match="permit it with --label-studio-storage"):
        images(url).read("s3://bucket/a.png", 7)
    assert images(url, storages=frozenset({storage})).read("s3://bucket/a.png", 7) == photo()
    encoded = base64.urlsafe_b64encode(b"s3://bucket/a.png").decode().replace("=", "%3D")
    assert (f"/tasks/7/presign/?fileuri={encoded}", "Bearer access") in asked
    assert ("/bucket/a.png", None) in asked


def test_an_install_below_a_path_loses_that_path_once(studio: Any) -> None:
    url, asked = studio
    assert images(f"{url}/label-studio").read(f"/label-studio{UPLOAD}", 1) == photo()
    assert asked[-1][0] == f"/label-studio{UPLOAD}"


@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/latest/meta-data",
        "//evil.example/data/upload/1/a.png",
        "https://127.0.0.1/data/upload/1/a.png",
        "file:///etc/passwd",
        "ftp://evil.example/a.png",
        "/etc/passwd",
        "/api/users",
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=%2e%2e%2fsecret.png",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/?d=link.png",
        "/data/local-files/?d=%00",
        "/data/local-files/",
        "data:image/png,hello",
        "",
        None,
        7,
    ],
)
def test_other_hosts_and_paths_outside_the_folder_are_never_read(reference: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(photo())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    own = images("http://127.0.0.1:9", files=tmp_path / "root")
    own._get = lambda target: pytest.fail(f"{target} was asked for")  # type: ignore[method-assign]
    with pytest.raises(InputError):
        own.read(reference, 1)


def test_the_root_of_the_disk_is_no_folder_of_local_files() -> None:
    with pytest.raises(InputError, match="other than /"):
        images(files=Path("/"))
    with pytest.raises(InputError, match="begins with http"):
        images("ftp://somewhere")
