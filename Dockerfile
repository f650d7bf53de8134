# SPDX-License-Identifier: Apache-2.0
# Warren's image: built and assembled in Debian 12 by tools/image.py, which also works without a container builder, then unpacked into an
# empty one. No shell, no package manager.
FROM debian:12 AS build
WORKDIR /src
COPY tools/packages.txt tools/install_packages.sh tools/
RUN tools/install_packages.sh
COPY . .
RUN cmake --preset release && cmake --build --preset release --target warren warren-agent warren-cni warren-controller warren-ztunnel
ARG VERSION=dev
RUN tools/image.py --bin build/release/bin --name "warren:${VERSION}" --out /image.tar \
 && mkdir /layout /root-of-image && tar -xf /image.tar -C /layout \
 && for layer in $(python3 -c "import json; d='/layout/'; b=lambda x: json.load(open(d+'blobs/sha256/'+x['digest'][7:])); \
print(*[l['digest'][7:] for l in b(json.load(open(d+'index.json'))['manifests'][0])['layers']])"); \
    do tar -xf "/layout/blobs/sha256/$layer" -C /root-of-image; done

FROM scratch
COPY --from=build /root-of-image/ /
ENV PATH=/usr/local/bin:/bin
