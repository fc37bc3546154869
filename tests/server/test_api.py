"""The HTTP API with a model of one line: what is asked, what is answered, and how it fails."""

import base64
import json
import threading
import time
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.server.guard import Access
from tests.server.stub import Redness, Served, photo, serve

BOX = [2, 1, 4, 3]


@pytest.fixture(scope="module")
def served() -> Served:
    return serve()


def ask(served: Served, *sentences: str, image: bytes | None = None, headers: Any = None, **fields: Any) -> Any:
    content = photo() if image is None else image
    data = {"sentence": list(sentences), **fields}
    return served.client.post("/v1/segment", files={"image": content}, data=data, headers=headers)


def test_a_form_with_a_photo_and_sentences_gets_an_answer_for_each(served: Served) -> None:
    answer = ask(served, "red", "nothing").json()
    assert answer["model"]["name"] == "redness"
    assert answer["image"] == {"height": 8, "width": 12}
    found, missing = answer["answers"]
    assert (found["expression"], found["box"], found["score"], found["notes"]) == ("red", BOX, 1.0, ["A note."])
    assert masks.area(found["rle"]) == 12
    assert (missing["found"], missing["box"]) == (False, None)
    assert set(answer["seconds"]) == {"queue", "model"}


def test_json_gives_the_same_answer(served: Served) -> None:
    encoded = base64.b64encode(photo()).decode()
    form = ask(served, "red").json()["answers"]
    for image in (encoded, f"data:image/png;base64,{encoded}"):
        assert served.client.post("/v1/segment", json={"image": image, "sentences": ["red"]}).json()["answers"] == form


@pytest.mark.parametrize("kind", ["rle", "png", "polygon", "none"])
def test_a_mask_comes_as_asked(served: Served, kind: str) -> None:
    answer = ask(served, "red", mask=kind).json()["answers"][0]
    assert ("rle" in answer, "png" in answer, "polygons" in answer) == (kind == "rle", kind == "png", kind == "polygon")
    if kind == "png":
        mask = np.asarray(Image.open(BytesIO(base64.b64decode(answer["png"]))))
        assert (mask.dtype, mask.shape, set(mask.flat), (mask > 0).sum()) == (np.uint8, (8, 12), {0, 255}, 12)
    if kind == "polygon":
        assert sorted(answer["polygons"][0]) == [[2, 1], [2, 4], [6, 1], [6, 4]]


def test_probabilities_and_evidence_come_on_request(served: Served) -> None:
    answer = ask(served, "red", probability=1, evidence=1, image=photo(level=102)).json()["answers"][0]
    levels = np.asarray(Image.open(BytesIO(base64.b64decode(answer["probability"]))))
    assert levels.max() == 102
    assert answer["tokens"] == ["red"]
    assert answer["evidence"]["similarity"][0][0][0] == 0.1234
    json.dumps(answer, allow_nan=False)


def test_a_threshold_replaces_the_models(served: Served) -> None:
    weak = photo(level=102)
    assert not ask(served, "red", image=weak).json()["answers"][0]["found"]
    assert ask(served, "red", image=weak, threshold=0.3).json()["answers"][0]["box"] == BOX


def test_a_png_is_answered_where_it_is_accepted(served: Served) -> None:
    answer = ask(served, "red", headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert (np.asarray(Image.open(BytesIO(answer.content))) > 0).sum() == 12
    assert ask(served, "red", "green", headers={"Accept": "image/png"}).status_code == 422


def test_further_sentences_about_one_image_encode_it_once() -> None:
    served = serve()
    for sentence in ("red", "green", "blue"):
        assert ask(served, sentence).status_code == 200
    ask(served, "red", image=photo(20, 20))
    assert served.model.encoded == [(8, 12), (20, 20)]
    assert served.service.answerer.hits == 2
    assert served.service.answerer.cache.num_bytes == 3 * (8 * 12 + 20 * 20)


def test_the_cache_is_bounded_in_bytes_and_forgets_the_oldest() -> None:
    served = serve(cache_megabytes=0.0005)
    for size in (10, 11, 10, 12):
        ask(served, "red", image=photo(size, 10))
    assert served.model.encoded == [(10, 10), (10, 11), (10, 10), (10, 12)]
    assert served.service.answerer.cache.num_bytes <= 500


@pytest.mark.parametrize(
    ("sentences", "fields", "status", "part"),
    [
        ([], {}, 422, "one or more sentences"),
        ([" "], {}, 422, "Sentence 1 is empty"),
        (["red"] * 65, {}, 422, "has 65 sentences; at most 64"),
        (["r" * 1001], {}, 422, "has 1,001 characters"),
        (["red"], {"threshold": 2}, 422, "threshold is '2'; expected a number between 0 and 1"),
        (["red"], {"threshold": "half"}, 422, "expected a number"),
        (["red"], {"presence_threshold": 0}, 422, "presence_threshold is '0'"),
        (["red"], {"mask": "gif"}, 422, "expected rle, png, polygon or none"),
        (["red"], {"evidence": "maybe"}, 422, "expected 0 or 1"),
        (["red"], {"treshold": 0.3}, 422, "Did you mean 'threshold'?"),
        (["break"], {}, 500, "The model is broken."),
        (["bug"], {}, 500, "its log has the details"),
    ],
)
def test_mistakes_are_one_sentence_in_one_shape(
    served: Served, sentences: list[str], fields: dict[str, Any], status: int, part: str
) -> None:
    answer = ask(served, *sentences, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, set(error)) == (status, {"code", "message", "request_id"})
    assert part in error["message"]
    assert error["request_id"] == answer.headers["X-Request-ID"]


def test_a_failing_model_fails_one_request_and_its_traceback_is_in_the_log_only() -> None:
    served = serve()
    answer = ask(served, "bug")
    assert "secret" not in answer.text
    line = json.loads(served.log[-1])
    assert "a secret of the inside" in line["traceback"]
    assert ask(served, "red").status_code == 200


def test_a_line_of_the_log_is_json_and_holds_no_sentence(served: Served) -> None:
    ask(served, "red", headers={"X-Request-ID": "mine-1"})
    line = json.loads(served.log[-1])
    assert (line["id"], line["status"], line["pixels"], line["sentences"]) == ("mine-1", 200, 96, 1)
    assert "red" not in json.dumps(line)


@pytest.mark.parametrize("given", ["a b", "x" * 65, 'x"}\\n', "ü"])
def test_a_strange_request_id_is_replaced(served: Served, given: str) -> None:
    answer = served.client.get("/health/live", headers={"X-Request-ID": given.encode()})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 16


def test_health_follows_the_worker() -> None:
    served = serve(queue=1)
    for path in ("/health/ready", "/v2/health/ready", "/health/live"):
        assert served.client.get(path).status_code == 200
    served.service.worker.stop()
    assert served.client.get("/health/live").status_code == 200
    refused = served.client.get("/health/ready")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0


def test_a_full_queue_answers_503_and_when_to_come_again() -> None:
    served = serve(queue=1)
    statuses: list[int] = []

    def one() -> None:
        answer = ask(served, "slow")
        statuses.append(answer.status_code)
        assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 6
    assert set(statuses) == {200, 503}


def test_an_answer_that_takes_too_long_is_504_and_its_further_sentences_are_dropped() -> None:
    served = serve(seconds=0.08)
    answer = ask(served, *["slow"] * 10)
    assert answer.status_code == 504
    time.sleep(0.15)
    assert len(served.model.asked) < 5


def test_metrics_count_requests_and_hold_nothing_that_was_written(served: Served) -> None:
    ask(served, "red")
    text = served.client.get("/metrics").text
    for name in ("deixis_requests_total", "deixis_queue_seconds_bucket", "deixis_model_seconds_count"):
        assert name in text
    assert "deixis_queue_length 0.0" in text
    assert "redness" not in text
    assert "sentence" not in text.replace("deixis_sentences", "").replace("Sentences", "")


def test_the_model_and_the_limits_are_listed(served: Served) -> None:
    listed = served.client.get("/v1/models").json()
    assert listed["models"][0]["rule"] == {"kind": "probability", "threshold": 0.5}
    assert listed["limits"]["sentences"] == 64


def test_openapi_describes_the_body_the_answer_and_the_error(served: Served) -> None:
    operation = served.client.get("/openapi.json").json()["paths"]["/v1/segment"]["post"]
    body = operation["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert {"image", "sentence", "threshold"} <= set(body["multipart/form-data"]["schema"]["properties"])
    assert "default" in operation["responses"]


def test_a_photo_turned_by_exif_has_its_upright_size(served: Served) -> None:
    content = BytesIO()
    picture = Image.open(BytesIO(photo()))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(content, "JPEG", exif=exif)
    assert ask(served, "red", image=content.getvalue()).json()["image"] == {"height": 12, "width": 8}


def test_a_log_on_a_full_disk_fails_no_request() -> None:
    served = serve()

    def write(line: str) -> None:
        raise OSError(28, "No space left on device")

    served.service.traffic.log = write
    assert ask(served, "red").status_code == 200
    assert "deixis_lost_log_lines_total 1.0" in served.client.get("/metrics").text


def test_a_token_opens_what_is_closed_and_the_page_and_probes_are_open() -> None:
    served = serve(Access(token="0123456789abcdef"))
    assert ask(served, "red").status_code == 401
    assert ask(served, "red", headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 200
    assert served.client.get("/metrics", auth=("any", "0123456789abcdef")).status_code == 200
    for path in ("/", "/page.js", "/page.css", "/health/live", "/health/ready"):
        assert served.client.get(path).status_code == 200


def test_a_model_that_breaks_while_it_is_loaded_is_reported() -> None:
    class Broken(Redness):
        def mask_rule(self, threshold: float | None = None) -> Any:
            raise OSError("broken")

    served = serve(model=Broken())
    assert served.service.worker.state == "failed"
    assert "could not be loaded" in ask(served, "red").json()["error"]["message"]
