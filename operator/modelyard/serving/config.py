"""Triton's model configurations of one generation and of the stable names.

They are complete, so Triton can run with --disable-auto-complete-config: completing them starts
every Python step once more, which took three quarters of a load's time.

Format: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from modelyard.contract.manifest import ArtifactManifest, TensorSpec
from modelyard.serving.names import Generation, network_name, parse_model, pipeline_name
from modelyard.serving.settings import ServingSettings

MODEL_FILES = {"onnx": "model.onnx", "tensorrt": "model.plan"}
BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt"}

IMAGE = "IMAGE"
FRAME = "frame"
TENSOR = "images"
RAW = "raw"
EMBEDDING = "embedding"
"""Goes from the network to the last step, which keeps that of requests drawn for monitoring."""
ERRORS = "errors"

_FRAME_SHAPE = (-1, 7)
_STRING = pb.TYPE_STRING
_OUTPUTS = (
    ("boxes", pb.TYPE_FP32, (-1, 4)),
    ("scores", pb.TYPE_FP32, (-1,)),
    ("classes", pb.TYPE_INT32, (-1,)),
    ("labels", pb.TYPE_STRING, (-1,)),
    ("image", pb.TYPE_INT32, (-1,)),
)
_ERRORS = (ERRORS, pb.TYPE_STRING, (-1,))


class UnservableError(ValueError):
    """The artifact cannot be served by this pipeline; the message says why and what to do."""


def generation_configs(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> dict[str, Any]:
    """The configurations of a generation's models, by name, in the order to load them: what is most
    likely to fail first, the ensemble last.

    Raises UnservableError for an artifact with a fixed batch above 1, or a TensorRT engine on a
    server without a GPU.
    """
    if manifest.batch not in (-1, 1):
        raise UnservableError(
            f"version {generation.version} was exported with a fixed batch of {manifest.batch}: "
            "export it with batch 1, or dynamic"
        )
    if manifest.format == "tensorrt" and not settings.gpu:
        raise UnservableError(
            f"version {generation.version} is a TensorRT engine and this server has no GPU: "
            "serve the onnx artifact here, or give the server a GPU"
        )
    ensemble = _pipeline(generation.name, generation, manifest, settings)
    if in_one_step(manifest, settings):
        steps = [_one_step(generation, manifest, settings)]
    else:
        steps = [
            _network(generation, manifest, settings),
            _preprocess(generation, manifest, settings),
            _postprocess(generation, manifest, settings),
        ]
    return {config.name: config for config in (*steps, ensemble)}


def in_one_step(manifest: ArtifactManifest, settings: ServingSettings) -> bool:
    """Whether one step computes everything, or three do: decoding, network, boxes."""
    # Only Triton's own batcher forms batches as the user asks for them.
    batches = settings.preferred_batches or settings.max_delay_microseconds
    asked = bool(batches) and manifest.batch == -1
    return settings.one_step and manifest.format == "onnx" and not settings.gpu and not asked


def side_by_side(manifest: ArtifactManifest, settings: ServingSettings) -> int:
    """Number of images that the network computes at the same time."""
    size = manifest.file.size_bytes
    if in_one_step(manifest, settings):
        return settings.lanes(size).processes
    return settings.copies(size)


def python_steps(models: Iterable[str], generation: Generation) -> dict[str, str]:
    """Of a generation's models those that are Python, with the folders of their code."""
    known = {
        generation.pipeline: "pipeline",
        generation.preprocess: "preprocess",
        generation.postprocess: "postprocess",
    }
    return {name: known[name] for name in models if name in known}


def stable_configs(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> dict[str, Any]:
    """The configurations of the stable names, by name, leading to the generation's models.

    The version that is served is named in the policy, so replacing the configuration file alone
    switches, whatever version directories lie there.
    """
    pipeline = _pipeline(pipeline_name(generation.line), generation, manifest, settings)
    network = _bare_network(generation, manifest, settings)
    for config in (pipeline, network):
        config.version_policy.specific.versions.append(generation.version)
    return {pipeline.name: pipeline, network.name: network}


def target_of(config: Any, line: str) -> Generation | None:
    """The generation that a stable name's configuration leads to; None if it leads to none."""
    for step in config.ensemble_scheduling.step:
        if (generation := parse_model(line, step.model_name)) is not None:
            return generation
    return None


def to_text(config: Any) -> str:
    """A configuration as config.pbtxt."""
    return str(text_format.MessageToString(config))


def from_text(text: str) -> Any:
    """A configuration from config.pbtxt. Raises ValueError."""
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"not a model configuration: {error}") from error


def _one_step(generation: Generation, manifest: ArtifactManifest, settings: ServingSettings) -> Any:
    config = pb.ModelConfig(name=generation.pipeline, backend="python")
    _add_input(config, IMAGE, _STRING, (-1,), optional=True)
    _add_input(config, TENSOR, _dtype(manifest.input), manifest.input.shape, optional=True)
    for output in (*_OUTPUTS, _ERRORS):
        _add_output(config, *output)
    public = manifest.public_outputs
    for name, tensor in zip(_raw_names(public), public, strict=True):
        _add_output(config, name, _dtype(tensor), tensor.shape)
    # The embedding last.
    computed = [*public, *(one for one in manifest.outputs if one not in public)]
    lanes = settings.lanes(manifest.file.size_bytes)
    _add_instances(config, lanes.processes, gpu=False)
    _add_parameters(
        config,
        **_selection(generation, manifest, settings),
        dtype=manifest.input.dtype,
        input=manifest.input.name,
        outputs=json.dumps([one.name for one in computed]),
        shapes=json.dumps([(one.dtype, _one_image(one)) for one in computed]),
        public=len(public),
        embeds=json.dumps(manifest.embedding is not None),
        threads=json.dumps([lanes.wide, lanes.narrow]),
        workers=lanes.workers,
        processes=lanes.processes,
        maxImages=settings.max_images,
        maxBatch=_max_batch(manifest, settings),
    )
    return config


def _raw_names(outputs: Sequence[TensorSpec]) -> list[str]:
    # Not the graph's own, which may be those of the pipeline's outputs.
    return [f"{RAW}{number}" for number in range(len(outputs))]


def _one_image(tensor: TensorSpec) -> tuple[int, ...]:
    return (1, *tensor.shape[1:])


def _selection(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> dict[str, object]:
    return {
        "model": generation.line,
        "version": generation.version,
        "classes": json.dumps(manifest.classes),
        "height": manifest.imgsz[0],
        "width": manifest.imgsz[1],
        "suppressed": json.dumps(manifest.suppressed),
        "confidence": settings.pipeline.confidence,
        "iou": settings.pipeline.iou,
        "maxDetections": settings.pipeline.max_detections,
    }


def _preprocess(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> Any:
    config = pb.ModelConfig(name=generation.preprocess, backend="python")
    _add_input(config, IMAGE, _STRING, (-1,))
    _add_output(config, TENSOR, _dtype(manifest.input), manifest.input.shape)
    _add_output(config, FRAME, pb.TYPE_INT64, _FRAME_SHAPE)
    _add_output(config, *_ERRORS)
    _add_instances(config, settings.decoders, gpu=False)
    _add_parameters(
        config,
        model=generation.line,
        version=generation.version,
        height=manifest.imgsz[0],
        width=manifest.imgsz[1],
        dtype=manifest.input.dtype,
        maxImages=min(settings.max_images, max(1, _max_batch(manifest, settings))),
    )
    return config


def _network(generation: Generation, manifest: ArtifactManifest, settings: ServingSettings) -> Any:
    config = pb.ModelConfig(
        name=generation.network,
        backend=BACKENDS[manifest.format],
        default_model_filename=MODEL_FILES[manifest.format],
        max_batch_size=_max_batch(manifest, settings),
    )
    _add_network_tensors(config, manifest, manifest.outputs)
    _add_batching(config, settings)
    size = manifest.file.size_bytes
    _add_instances(config, settings.copies(size), gpu=settings.gpu)
    threads = settings.threads(size)
    if manifest.format == "onnx" and threads is not None:
        # The names of the vendor's ONNX Runtime backend; ours reads the same.
        _add_parameters(config, intra_op_thread_count=threads, inter_op_thread_count=1)
    return config


def _postprocess(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> Any:
    config = pb.ModelConfig(name=generation.postprocess, backend="python")
    raw = manifest.outputs[0]
    _add_input(config, RAW, _dtype(raw), raw.shape)
    _add_input(config, FRAME, pb.TYPE_INT64, _FRAME_SHAPE)
    if manifest.embedding is not None:
        _add_input(config, EMBEDDING, pb.TYPE_FP32, (manifest.batch, manifest.embedding.size))
    for output in _OUTPUTS:
        _add_output(config, *output)
    _add_instances(config, 1, gpu=False)
    _add_parameters(config, **_selection(generation, manifest, settings))
    return config


def _pipeline(
    name: str, generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> Any:
    config = pb.ModelConfig(name=name, platform="ensemble")
    _add_input(config, IMAGE, _STRING, (-1,))
    for output in (*_OUTPUTS, _ERRORS):
        _add_output(config, *output)
    if in_one_step(manifest, settings):
        names = {name: name for name, _, _ in (*_OUTPUTS, _ERRORS)}
        _add_step(config, generation.pipeline, {IMAGE: IMAGE}, names)
        return config
    given = {TENSOR: TENSOR, FRAME: FRAME, ERRORS: ERRORS}
    _add_step(config, generation.preprocess, {IMAGE: IMAGE}, given)
    raw, inputs = {manifest.outputs[0].name: RAW}, {RAW: RAW, FRAME: FRAME}
    if manifest.embedding is not None:
        raw[manifest.embedding.output] = EMBEDDING
        inputs[EMBEDDING] = EMBEDDING
    _add_step(config, generation.network, {manifest.input.name: TENSOR}, raw)
    names = {name: name for name, _, _ in _OUTPUTS}
    _add_step(config, generation.postprocess, inputs, names)
    return config


def _bare_network(
    generation: Generation, manifest: ArtifactManifest, settings: ServingSettings
) -> Any:
    config = pb.ModelConfig(name=network_name(generation.line), platform="ensemble")
    # Without the embedding, which is for monitoring and comes and goes with versions.
    public = manifest.public_outputs
    if in_one_step(manifest, settings):
        _add_network_tensors(config, manifest, public)
        outputs = {raw: one.name for raw, one in zip(_raw_names(public), public, strict=True)}
        _add_step(config, generation.pipeline, {TENSOR: manifest.input.name}, outputs)
        return config
    config.max_batch_size = _max_batch(manifest, settings)
    _add_network_tensors(config, manifest, public)
    inputs = {manifest.input.name: manifest.input.name}
    # An ensemble's tensors share one name space; a graph may call input and output the same.
    outputs = {output.name: output.name for output in public}
    _add_step(config, generation.network, inputs, outputs)
    return config


def _add_network_tensors(
    config: Any, manifest: ArtifactManifest, outputs: Sequence[TensorSpec]
) -> None:
    # With a maximum batch size, Triton puts the batch in front of the dimensions given here.
    skip = 1 if config.max_batch_size else 0
    _add_input(config, manifest.input.name, _dtype(manifest.input), manifest.input.shape[skip:])
    for output in outputs:
        _add_output(config, output.name, _dtype(output), output.shape[skip:])


def _add_batching(config: Any, settings: ServingSettings) -> None:
    """How Triton's dynamic batcher forms batches, for a model that takes any."""
    # https://github.com/triton-inference-server/server/blob/main/docs/user_guide/batcher.md
    if config.max_batch_size <= 1:
        return
    config.dynamic_batching.SetInParent()
    fitting = {size for size in settings.preferred_batches if size <= config.max_batch_size}
    config.dynamic_batching.preferred_batch_size.extend(sorted(fitting))
    config.dynamic_batching.max_queue_delay_microseconds = settings.max_delay_microseconds


def _max_batch(manifest: ArtifactManifest, settings: ServingSettings) -> int:
    if manifest.batch != -1:
        return 0
    return manifest.batch_of(settings.max_batch)


def _dtype(tensor: TensorSpec) -> Any:
    return pb.DataType.Value(f"TYPE_{tensor.dtype}")


def _add_input(
    config: Any, name: str, dtype: Any, dims: tuple[int, ...], *, optional: bool = False
) -> None:
    config.input.add(name=name, data_type=dtype, dims=dims, optional=optional)


def _add_output(config: Any, name: str, dtype: Any, dims: tuple[int, ...]) -> None:
    config.output.add(name=name, data_type=dtype, dims=dims)


def _add_instances(config: Any, count: int, *, gpu: bool) -> None:
    kind = pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(kind=kind, count=count)


def _add_parameters(config: Any, **values: object) -> None:
    for key, value in values.items():
        config.parameters[key].string_value = str(value)


def _add_step(config: Any, model: str, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    step = config.ensemble_scheduling.step.add(model_name=model, model_version=-1)
    step.input_map.update(inputs)
    step.output_map.update(outputs)
