# MedficientSAM's C++ program as its own Dockerfile.cpp lays it out, from a folder that
# benchmarks/peer_images.py fills: its predict.sh keeps compiled graphs in the outputs folder.
ARG BASE
FROM ${BASE}
RUN groupadd -r user && useradd -m --no-log-init -r -g user user \
    && mkdir -p /medsam /workspace/inputs /workspace/outputs && chown -R user:user /workspace
COPY . /medsam/
ENV LD_LIBRARY_PATH=/medsam/lib
USER user
WORKDIR /medsam
CMD ["sh", "predict.sh"]
