# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PostgreSQL and Patroni on Debian. Context: the collection's root directory.
#
#   DOCKER_BUILDKIT=1 docker build -t pgops/postgres:15-bookworm .
#   podman build -t pgops/postgres:15-bookworm .
#
# Build arguments                    default                 meaning
#   BASE_IMAGE                       debian:bookworm         pulled, or made from Debian's packages (role pg_image)
#   PG_MAJOR                         15                      the distribution's own, else the PostgreSQL project's repository is added
#   PGDG_URL                         the project's address   a mirror of that repository
#   WITH_JIT                         false                   true adds LLVM (110 MB)
#   WITH_APT                         false                   true keeps apt, debconf and Perl, for images built on top of this one (25 MB)
#   WITH_FULL_ICU                    false                   true keeps all of ICU: formats, names in other languages, transliteration (24 MB)
#   EXTRA_PACKAGES                   (empty)                 more Debian packages, separated by blanks, e.g. postgresql-15-postgis-3
#   EXTENSION_BUILD_PACKAGES         (empty)                 Debian packages for compiling what lies in image/extensions (see its README.md)
#   EXTRA_LOCALES                    en_US.UTF-8             locales of the C library beside C.UTF-8, separated by blanks; volumes that
#                                                            docker-library's image made need this one (3 MB)
#
# Secrets, each optional and never part of a layer (docker build --secret id=NAME,src=FILE):
#   ca_bundle   certificates (PEM) that pip trusts instead of its own, behind a proxy that inspects TLS
#   pip_conf    a pip.conf: index, proxy
#   apt_conf    an apt configuration file: proxy, mirror options
#
# No syntax line: it would fetch a front end from a registry. Everything here is understood by Docker 20.10 and by buildah 1.28.

ARG BASE_IMAGE=debian:bookworm

# ---------------------------------------------------------------------------------------------------------------- base
# What is there at run time and changes least: the server, Python (whole: Ansible's modules run inside), user 999.
FROM scratch AS extensions
COPY image/extensions /

FROM ${BASE_IMAGE} AS base
ARG PG_MAJOR=15
ARG PGDG_URL=https://apt.postgresql.org/pub/repos/apt
ARG WITH_JIT=false
ARG WITH_APT=false
ARG EXTRA_PACKAGES=
ARG EXTRA_LOCALES=en_US.UTF-8
ENV LANG=C.UTF-8 \
    TZ=Etc/UTC \
    PG_MAJOR=${PG_MAJOR} \
    PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN --mount=type=bind,source=image/base,target=/image \
    --mount=type=bind,from=extensions,target=/extensions \
    --mount=type=cache,id=pgops-apt-cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=pgops-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    /image/install.sh

# --------------------------------------------------------------------------------------------------------------- setup
# What only the build needs: pip, setuptools, a compiler's tools.
FROM base AS venv
RUN --mount=type=cache,id=pgops-apt-cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=pgops-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    apt-get update -q && apt-get install -qy --no-install-recommends python3-pip python3-setuptools python3-wheel binutils
COPY image/setup/venv.sh requirements/image.txt /build/
RUN --mount=type=cache,id=pgops-pip,target=/root/.cache/pip,sharing=locked \
    --mount=type=secret,id=ca_bundle,target=/run/build/ca.pem \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /build/venv.sh /build/image.txt /opt/pgops/venv

FROM venv AS setup
# The container's own files; byte-compiled here, for the root file system may be read-only and owned by somebody else. What changes more
# often comes last, so that an edit of the entrypoint compiles the entrypoint only.
COPY plugins/module_utils/_hba /app/usr/local/lib/pgops/_hba
COPY plugins/module_utils/_store /app/usr/local/lib/pgops/_store
COPY plugins/module_utils/_auth/__init__.py plugins/module_utils/_auth/scram.py plugins/module_utils/_auth/verifier.py /app/usr/local/lib/pgops/_auth/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash -s /app -p / /app/usr/local/lib/pgops
COPY rootfs /app
RUN chmod -R u=rwX,go=rX /app && chmod 0755 /app/usr/local/bin/* \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /app -p / /app/usr/local/lib/pgops/entrypoint /app/usr/local/lib/pgops/*.py

# ------------------------------------------------------------------------------------------------------------- runtime
FROM base AS compiled
ARG EXTENSION_BUILD_PACKAGES=
RUN --mount=type=bind,source=image/setup,target=/image \
    --mount=type=bind,from=extensions,target=/extensions \
    --mount=type=cache,id=pgops-apt-cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=pgops-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    /image/extensions.sh /extensions /compiled

FROM base AS prepared
USER 999
RUN --mount=type=bind,source=image/prepare,target=/image python3 /image/prepare.py /tmp/prepared.gz

FROM base AS icu
ARG WITH_FULL_ICU=false
RUN --mount=type=bind,source=image/icu,target=/image \
    --mount=type=cache,id=pgops-apt-cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=pgops-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build \
    /image/slim.sh /icu

# What an installation needs and a container does not goes, and then from scratch: no layer below carries along what was taken away.
FROM base AS trimmed
ARG WITH_APT=false
ARG EXTRA_PACKAGES=
COPY --from=icu /icu /
COPY --from=compiled /compiled /
RUN --mount=type=bind,source=image/check,target=/image \
    --mount=type=cache,id=pgops-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    /image/check.sh
RUN --mount=type=bind,source=image/trim,target=/image /image/trim.sh

FROM venv AS sbom
COPY image/sbom/sbom.sh requirements/sbom.txt /build/
RUN --mount=type=bind,from=trimmed,target=/trimmed \
    --mount=type=cache,id=pgops-pip,target=/root/.cache/pip,sharing=locked \
    --mount=type=secret,id=ca_bundle,target=/run/build/ca.pem \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /build/sbom.sh /build/sbom.txt /trimmed /sbom

FROM scratch AS runtime
ARG PG_MAJOR=15
ENV LANG=C.UTF-8 \
    TZ=Etc/UTC \
    PG_MAJOR=${PG_MAJOR} \
    PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY --from=trimmed / /
COPY --from=setup /opt/pgops /opt/pgops
COPY --from=sbom /sbom /usr/share/pgops/sbom
COPY --from=prepared --chown=0:0 /tmp/prepared.gz /opt/pgops/prepared.gz
COPY --from=setup /app /
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGTERM
USER 999
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/local/bin/healthcheck.sh"]
ENTRYPOINT ["/usr/bin/python3", "-I", "/usr/local/lib/pgops/pid1.py"]
CMD ["postgres"]
LABEL org.opencontainers.image.title="pgops/postgres" \
      org.opencontainers.image.description="PostgreSQL and Patroni on Debian, with external access as declared in the environment" \
      org.opencontainers.image.licenses="GPL-3.0-or-later AND PostgreSQL AND MIT"
