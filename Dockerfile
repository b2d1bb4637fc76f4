# Builds the image for the platform of the builder, amd64 or arm64:
#   docker build -t orlop .
#   docker build --build-arg FEATURES=otlp -t orlop .     with OpenTelemetry traces
#   docker build --build-arg PROFILE=quick -t orlop .     in a fraction of the time, but slow and large
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG FEATURES=
ARG PROFILE=dist
# A statically linked -gnu binary needs no libc in the image. The explicit target keeps the flags from build
# scripts and procedural macros, which cannot be static. Packed relocations save 0.7 MB.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
       cargo build --profile "$PROFILE" --locked --features "$FEATURES" --target "$target" --bin orlop \
    && cp "target/$target/$PROFILE/orlop" /orlop \
    && mkdir /data

FROM scratch
LABEL org.opencontainers.image.title="orlop" \
      org.opencontainers.image.description="A self-hosted OCI container registry that stays small by itself" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /orlop /orlop
# A new volume gets its owner from this directory. Otherwise /data would belong to root.
COPY --from=build --chown=65532:65532 /data /data
ENV ORLOP_STORAGE__DATA=/data
USER 65532:65532
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/orlop", "healthcheck"]
ENTRYPOINT ["/orlop"]
CMD ["serve"]
