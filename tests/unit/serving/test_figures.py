"""Reading Triton's metrics page."""

from __future__ import annotations

from modelyard.api.modelserver import LATENCY_BOUNDS_MS
from modelyard.serving.figures import Totals, parse
from modelyard.serving.models import metrics

PAGE = """
# HELP modelyard_images_total Images answered
# TYPE modelyard_images_total counter
modelyard_images_total{model="digits",version="7"} 10
modelyard_images_total{model="digits",version="8"} 1
modelyard_images_total{model="other",version="7"} 99
modelyard_latency_bucket{le="5",model="digits",version="7"} 4
modelyard_latency_bucket{le="7",model="digits",version="7"} 4
modelyard_latency_bucket{le="5000",model="digits",version="7"} 9
modelyard_latency_bucket{le="+Inf",model="digits",version="7"} 10
modelyard_latency_sum{model="digits",version="7"} 5310.5
modelyard_latency_count{model="digits",version="7"} 10
modelyard_confidence_bucket{le="0.3",model="digits",version="7"} 2
modelyard_confidence_sum{model="digits",version="7"} 6.5
modelyard_confidence_count{model="digits",version="7"} 12
modelyard_detections_total{class="a \\"b\\", {c}",model="digits",version="7"} 12
modelyard_failures_total{model="digits",version="7"} 2
modelyard_rejected_total{model="digits",version="7"} 5
nv_inference_request_failure{model="digits",reason="OTHER",version="1"} 16
nv_inference_request_failure{model="digits-7-1f2e3d4c-network",reason="BACKEND",version="1"} 1
nv_inference_request_failure{model="digits-7-00000000-network",reason="BACKEND",version="1"} 1
nv_inference_request_failure{model="digits-7-1f2e3d4c",reason="OTHER",version="1"} 2
nv_inference_queue_duration_us{model="digits-7-1f2e3d4c-network",version="1"} 1234
nv_inference_queue_duration_us{model="digits-7-1f2e3d4c-preprocess",version="1"} 77
nv_inference_queue_duration_us{model="digits-network",version="1"} 55
nonsense{
"""


def test_each_version_of_the_line_is_read_and_nothing_else():
    found = parse(PAGE, "digits")

    assert set(found) == {7, 8}
    seven = found[7]
    assert (seven.requests, seven.failures, seven.rejected) == (10, 4, 5)
    assert (seven.boxes, seven.confidence_millis, seven.latency_ms) == (12, 6500, 5310.5)
    assert seven.queue_micros == 1234
    assert found[8] == Totals(requests=1)


def test_a_page_of_a_version_whose_counters_are_handed_over_just_then_is_partial():
    found = parse(PAGE, "digits")
    assert (found[7].partial, found[8].partial) == (False, True)


def test_buckets_are_counted_apart():
    latency = dict(zip([*LATENCY_BOUNDS_MS, None], parse(PAGE, "digits")[7].latency, strict=True))

    # Bounds between 7 and 5000 are not on the page, as if nothing lay under them.
    assert latency[5] == 4
    assert latency[7] == 0
    assert latency[None] == 1


def test_the_pipeline_measures_in_the_buckets_of_the_api():
    assert metrics.LATENCY_BOUNDS_MS == LATENCY_BOUNDS_MS


def test_a_page_without_the_line_says_nothing():
    assert parse(PAGE, "digit") == {}
    assert parse("", "digits") == {}


def test_a_difference_of_readings_is_what_came_between():
    before = parse(PAGE, "digits")[7]
    after = parse(PAGE.replace('version="7"} 10\n', 'version="7"} 13\n'), "digits")[7]

    assert after.since(before) == Totals(requests=3, latency=(*[0] * len(LATENCY_BOUNDS_MS), 3))
    assert after.since(None) == after
    assert before.since(before) == Totals()


def test_a_version_that_was_loaded_anew_counts_from_nothing():
    before = parse(PAGE, "digits")[7]
    anew = Totals(requests=2)

    assert anew.since(before) == anew
