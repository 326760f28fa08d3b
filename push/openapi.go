package push

import (
	_ "embed"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

// openAPI describes the API (OpenAPI 3.1). A test holds it to the routes and calls
// each operation.
//
//go:embed openapi.json
var openAPI []byte

func (a *API) getOpenAPI(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	ctx.SetContentType(contentJSON)
	ctx.Response.SetBodyRaw(openAPI)
	return nil
}
