# The image holds the binary, the certificates it trusts and nothing else.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Time zones and the pages' assets are embedded in the binary, and so is the
# commit, which `kalends version` shows.
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/kalends ./cmd/kalends \
 && install -d -m 0700 -o 65532 -g 65532 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/kalends /kalends
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
# In a container the listener must be reachable from outside. Passwords are
# still refused over plain HTTP unless the request comes from a proxy listed in
# KALENDS_TRUSTED_PROXIES, or give KALENDS_HTTPS_LISTEN and a certificate.
ENV KALENDS_DATA_DIR=/data \
    KALENDS_DATABASE_URL=sqlite:/data/kalends.db \
    KALENDS_HTTP_LISTEN=:8080 \
    KALENDS_MANAGEMENT_LISTEN=127.0.0.1:8081
EXPOSE 8080
VOLUME /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/kalends", "healthcheck"]
ENTRYPOINT ["/kalends"]
CMD ["serve"]
