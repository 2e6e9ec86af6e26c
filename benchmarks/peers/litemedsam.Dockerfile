# The challenge's baseline (LiteMedSAM, PyTorch) as its own Dockerfile lays it out, from a folder
# that benchmarks/peer_images.py fills: site holds its packages, app its checkout.
ARG BASE
FROM ${BASE}
RUN groupadd -r user && useradd -m --no-log-init -r -g user user \
    && mkdir -p /workspace/inputs /workspace/outputs && chown -R user:user /workspace
COPY site /opt/site
RUN python3 -m compileall -q /opt/site "$(python3 -c 'import os; print(os.path.dirname(os.__file__))')" \
    || true
COPY app /opt/app
RUN chown user:user /opt/app && chmod -R a+rX /opt/site /opt/app
ENV PYTHONPATH=/opt/site
USER user
WORKDIR /opt/app
CMD ["sh", "predict.sh"]
