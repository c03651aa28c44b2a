# Layers lie in the order in which they change: base, weights, adapter, dependencies, code. The final stages only copy,
# so whatever builds stays behind. `make image` builds both targets; docs/image.md says what each part is for.
ARG PYTHON_VERSION=3.13
ARG BASE_IMAGE=public.ecr.aws/lambda/python:${PYTHON_VERSION}
# Where pip runs: another image than the base only if the base has no pip. Its Python must be the base's.
ARG BUILDER_IMAGE=${BASE_IMAGE}
ARG LWA_IMAGE=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1

FROM ${LWA_IMAGE} AS adapter

# The secrets are optional: a pip.conf for a private index, and the authorities that its certificate needs.
FROM ${BUILDER_IMAGE} AS runtime-site
COPY image/install.py requirements/runtime.txt /build/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    python3 /build/install.py site /opt/firebrick/site --requirements /build/runtime.txt

# Large libraries with the pages first that a start touches, as image/start/touched.json says.
FROM runtime-site AS ordered-site
COPY image/start/__init__.py image/start/libraries.py image/start/pages.py image/start/bundle.py image/start/record.py \
    image/start/touched.json /build/image/start/
RUN cd /build && python3 -m image.start.libraries order /opt/firebrick/site

# The libraries apart, and before them what else a start reads, since what lies together is few chunks.
FROM ordered-site AS split-site
ARG LAUNCHER=image/start/launcher.sh
RUN cd /build && python3 -m image.start.libraries split /opt/firebrick/site /out
COPY --chmod=0755 ${LAUNCHER} /out/first/start/launcher

FROM ${BUILDER_IMAGE} AS worker-site
COPY image/install.py requirements/runtime.txt requirements/worker.txt /build/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    python3 /build/install.py site /opt/firebrick/site --requirements /build/worker.txt --without /build/runtime.txt

# Compiled by the base's own Python, and tried there: a library that wants a newer glibc fails now, not in Lambda.
FROM ${BASE_IMAGE} AS code
COPY image/install.py /build/
COPY handler /opt/firebrick/app/handler
COPY image/start/bundle.py /opt/firebrick/app/sitecustomize.py
RUN --mount=type=bind,from=ordered-site,source=/opt/firebrick/site,target=/opt/firebrick/site \
    python3 /build/install.py code /opt/firebrick/app --site /opt/firebrick/site

FROM ${BASE_IMAGE} AS model
ARG MODEL_DIR=build/demo
COPY --chmod=0644 ${MODEL_DIR}/model.safetensors /opt/firebrick/model/
# All the rest, prefixes too: every name that doesn't end as the weights' does.
COPY --chmod=0644 ${MODEL_DIR}/*[^s] /opt/firebrick/model/
LABEL com.amazonaws.lambda.feature.snapstart="Allow"
# Python's own UTF-8, so that no locale is read, and no directory of a user who isn't there.
ENV FIREBRICK_MODEL_DIR=/opt/firebrick/model \
    FIREBRICK_VERIFY=quick \
    ORT_DISABLE_TELEMETRY=1 \
    LC_ALL=C \
    PYTHONUTF8=1 \
    PYTHONCOERCECLOCALE=0 \
    PYTHONUSERBASE=/opt/firebrick \
    PYTHONPATH=/opt/firebrick/app:/opt/firebrick/site \
    PYTHONDONTWRITEBYTECODE=1

FROM model AS stream-files
COPY --from=adapter --chmod=0755 /lambda-adapter /opt/extensions/lambda-adapter
COPY --from=split-site /out/first /opt/firebrick
COPY --from=split-site /out/libraries /opt/firebrick/site
COPY --from=split-site /opt/firebrick/site /opt/firebrick/site
COPY --from=code /opt/firebrick/app /opt/firebrick/app
ENV AWS_LWA_PORT=8080 \
    AWS_LWA_INVOKE_MODE=response_stream \
    AWS_LWA_READINESS_CHECK_PATH=/health \
    AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS=400 \
    AWS_LWA_ERROR_STATUS_CODES=501 \
    AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH=/snapshot/before \
    AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH=/snapshot/after
WORKDIR /opt/firebrick/app
# Lambda wants an absolute path; where Python lies is the base's own affair, so the launcher looks in PATH.
ENTRYPOINT ["/opt/firebrick/start/launcher", "python3", "-m", "handler"]
CMD []

# The first start, which says what later ones need.
FROM stream-files AS stream-start
COPY image/start /build/image/start
RUN cd /build && python3 -m image.start.record server /out

FROM stream-files AS stream
COPY --from=stream-start /out/files /out/libraries.bundle /out/python /opt/firebrick/start/
COPY --from=stream-start /out/own.bundle /opt/firebrick/start/

# What a start touches of these libraries, for image/start/touched.json: `make image-touched`.
FROM stream-files AS touched-start
COPY --from=runtime-site /opt/firebrick/site /opt/firebrick/site
COPY image/start /build/image/start
RUN cd /build && python3 -m image.start.libraries record /opt/firebrick/site /out/touched.json

FROM scratch AS touched
COPY --from=touched-start /out/touched.json /touched.json

FROM model AS worker-files
COPY --from=split-site /out/first /opt/firebrick
COPY --from=split-site /out/libraries /opt/firebrick/site
COPY --from=split-site /opt/firebrick/site /opt/firebrick/site
COPY --from=worker-site /opt/firebrick/site /opt/firebrick/site
COPY --from=code /opt/firebrick/app /opt/firebrick/app
WORKDIR /opt/firebrick/app
ENTRYPOINT ["/opt/firebrick/start/launcher", "python3", "-m", "awslambdaric"]
CMD ["handler.worker.function.handle"]

FROM worker-files AS worker-start
COPY image/start /build/image/start
RUN cd /build && python3 -m image.start.record imports /out awslambdaric.__main__ handler.worker.function

FROM worker-files AS worker
COPY --from=worker-start /out/files /out/libraries.bundle /out/python /opt/firebrick/start/
COPY --from=worker-start /out/own.bundle /opt/firebrick/start/
