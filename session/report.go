package session

import "github.com/pushcart/pushcart/internal/apierror"

// reported counts what a request of a client came to, and logs a refusal with the
// configuration to look at, once per cause and minute.
func (e *Engine) reported(err *apierror.Error, request, setting string) *apierror.Error {
	if err == nil {
		e.metrics.ClientRequests.WithLabelValues(request, "ok").Inc()
		return nil
	}
	e.metrics.ClientRequests.WithLabelValues(request, string(err.Code)).Inc()
	e.rare.Warn(request+" "+err.Message, "request of a client refused", "request", request, "reason", err.Message, "setting", setting)
	return err
}

// Malformed counts a client's message that is not a request.
func (e *Engine) Malformed() {
	e.metrics.ClientRequests.WithLabelValues("malformed", string(apierror.InvalidArgument)).Inc()
}
