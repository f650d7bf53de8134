# SPDX-License-Identifier: Apache-2.0
# Warren's image: built and assembled in Debian 12 by tools/image.py, which also works without a container builder, then copied into an
# empty one. No shell, no package manager. tests/charts/image_test.py holds it to what tools/image.py writes.
ARG VERSION=dev

FROM debian:12 AS build
WORKDIR /src
COPY tools/packages.txt tools/install_packages.sh tools/
RUN tools/install_packages.sh --build
COPY . .
RUN cmake --preset release && cmake --build --preset release --target warren warren-agent warren-cni warren-controller warren-ztunnel
ARG VERSION
RUN tools/image.py --bin build/release/bin --name "warren:${VERSION}" --out /image.tar --root /image

FROM scratch
ARG VERSION
COPY --from=build /image/ /
WORKDIR /
ENV PATH=/usr/local/bin:/bin
LABEL org.opencontainers.image.title=warren org.opencontainers.image.version=${VERSION}
