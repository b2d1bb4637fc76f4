# One file for amd64 and arm64: the builder compiles for the platform that it runs on.
#   docker build -t orlop .
#   docker build --build-arg FEATURES=otlp -t orlop .     with traces
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG FEATURES=
# The -gnu target linked statically needs no libc beside it. Naming the target keeps the flag
# away from build scripts and procedural macros, which can't be static. Packed relocations take
# 0.7 MB less.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
       cargo build --release --locked --features "$FEATURES" --target "$target" --bin orlop \
    && cp "target/$target/release/orlop" /orlop \
    && mkdir /data

FROM scratch
LABEL org.opencontainers.image.title="orlop" \
      org.opencontainers.image.description="A self-hosted OCI container registry that stays small by itself" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /orlop /orlop
# A new volume takes its owner from here; without it /data would belong to root.
COPY --from=build --chown=65532:65532 /data /data
ENV ORLOP_STORAGE__DATA=/data
USER 65532:65532
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/orlop", "healthcheck"]
ENTRYPOINT ["/orlop"]
CMD ["serve"]
