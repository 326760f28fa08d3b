# A static binary alone: no shell, no package manager, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /pushcart ./cmd/pushcart

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /pushcart /pushcart
USER 65532:65532
# Every command looks for pushcart.yaml here.
WORKDIR /etc/pushcart
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/pushcart", "health"]
ENTRYPOINT ["/pushcart"]
CMD ["run"]
