package push

import (
	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

// maxLogged is how much of a path or a reason is logged.
const maxLogged = 200

// report logs a request that its caller has to mend, at most once per code and
// minute: apps often do not look at the answer.
func (a *API) report(ctx *fasthttp.RequestCtx, e *apierror.Error) {
	setting := ""
	switch e.Code {
	case apierror.InvalidArgument, apierror.MethodNotAllowed, apierror.UnsupportedType:
	case apierror.NotFound:
		if e.Message != noSuchPath {
			return // an answer: there is no such connection
		}
	case apierror.Unauthenticated:
		setting = "push.tokens"
	case apierror.Forbidden:
		setting = "push.hosts"
	case apierror.TooLarge:
		setting = "push.max_body"
	default:
		return
	}
	args := []any{"path", cut(string(ctx.Path())), "status", e.Code.Status(), "reason", cut(e.Message)}
	if setting != "" {
		args = append(args, "setting", setting)
	}
	a.quiet.Warn("push "+string(e.Code), "push API request refused", args...)
}

func cut(s string) string { return s[:min(len(s), maxLogged)] }
