# Any Debian-like image with python3 (3.11 to 3.13) and its venv module; .ci/base_image.sh makes one
# where no image registry can be reached. docs/container.md says the rest.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG PIP_INDEX_URL
WORKDIR /build
COPY requirements.txt .
RUN python3 -m venv venv
RUN venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
        --require-hashes --target /opt/medsam/lib -r requirements.txt

# What running an ONNX graph on the CPU never opens: other devices, other formats, development files.
# Of numpy, two files only attach documentation and two only serve type checkers: a quarter of its
# time to import.
RUN cd /opt/medsam/lib \
    && rm -rf bin share include google flatbuffers openvino_telemetry \
        openvino/include openvino/cmake openvino/tools openvino/torch openvino/3rdparty \
        openvino/libs/cache.json openvino/libs/pkgconfig \
        onnxruntime/backend onnxruntime/datasets onnxruntime/quantization \
        onnxruntime/tools onnxruntime/transformers \
        numpy/distutils numpy/f2py numpy/_core/include numpy/_core/lib numpy/random/lib \
    && rm -rf nibabel/benchmarks nibabel/cmdline PIL/_[!i]*.so PIL/_imaging[!.]*.so \
        pillow.libs/lib[!jlotXxz]* pillow.libs/liblcms* \
    && find PIL -name '*Plugin.py' ! -name PngImagePlugin.py -delete \
    && find openvino/libs -name 'libopenvino_*' ! -name '*_cpu_plugin.so*' ! -name 'libopenvino_c.so*' \
        ! -name '*_onnx_frontend.so*' ! -name '*_ir_frontend.so*' -delete \
    && find isal -name 'igzip*.py' -delete \
    && : >numpy/_core/_add_newdocs.py && : >numpy/_core/_add_newdocs_scalars.py \
    && printf '%s\n' 'from types import GenericAlias' 'class NDArray:' \
        '    __class_getitem__ = classmethod(GenericAlias)' \
        'ArrayLike = DTypeLike = NBitBase = object' >numpy/_typing/__init__.py \
    && echo 'from numpy._typing import *' >numpy/typing/__init__.py \
    && find . -name tests -type d -prune -exec rm -rf {} + \
    && find . \( -name '*.pyi' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' \) -delete

COPY predict.sh /workspace/
COPY inference /workspace/inference
# Missing byte code costs 0.6 s at every start; unchecked, it is good whatever a copy does to times.
# The readers of NIfTI and PNG do without it: npz cases never open them.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(nibabel|PIL|importlib_resources)/' /opt/medsam/lib /workspace \
    && mkdir -p /workspace/inputs /workspace/outputs \
    && chmod -R a+rX,go-w /opt/medsam /workspace

FROM ${BASE}
ENV PYTHONPATH=/opt/medsam/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    MALLOC_TOP_PAD_=33554432 \
    MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MEDSAM_CACHE=/opt/medsam/cache
COPY --from=build /opt/medsam/lib /opt/medsam/lib
COPY --from=build /workspace /workspace
WORKDIR /workspace
# The standard library's byte code, which python:*-slim images lack, and the graphs compiled for this
# processor.
RUN python3 -m compileall -q -x '/(test|tests|site-packages|dist-packages|ensurepip|idlelib|lib2to3|tkinter)/' \
        "$(python3 -c 'import os; print(os.path.dirname(os.__file__))')" \
    && python3 -m inference --compile-only \
    && chmod -R a+rX "$MEDSAM_CACHE"
CMD ["sh", "predict.sh"]
