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
EXPOSE 8080 8081 8082
ENTRYPOINT ["/pushcart"]
CMD ["run", "--config", "/etc/pushcart.yaml"]
