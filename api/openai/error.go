package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// The values of Error.Type, as OpenAI's API has them.
const (
	TypeInvalidRequest = "invalid_request_error"
	TypeRateLimit      = "rate_limit_error"
	TypeServer         = "server_error"
	TypeUnavailable    = "service_unavailable_error"
)

// Error is an answer that is not a completion. It is written as OpenAI's error
// object, which the official clients turn into their typed errors.
type Error struct {
	Status  int    // HTTP status
	Type    string // one of the Type constants
	Code    string // for programs: "model_not_found"; empty becomes null
	Param   string // the request field that is at fault; empty becomes null
	Message string // for people
	// RetryAfter, if positive, becomes the Retry-After header.
	RetryAfter time.Duration
}

// NewError makes an Error of a kind.
func NewError(status int, kind, format string, args ...any) *Error {
	return &Error{Status: status, Type: kind, Message: fmt.Sprintf(format, args...)}
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// MarshalJSON gives {"error":{"message","type","param","code"}}.
func (e *Error) MarshalJSON() ([]byte, error) {
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	o := object{Message: e.Message, Type: e.Type}
	if e.Param != "" {
		o.Param = &e.Param
	}
	if e.Code != "" {
		o.Code = &e.Code
	}
	return json.Marshal(struct {
		Error object `json:"error"`
	}{o})
}

// Write sends the error as a whole answer.
func (e *Error) Write(w http.ResponseWriter) {
	if e.RetryAfter > 0 {
		seconds := int64(math.Ceil(e.RetryAfter.Seconds()))
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	writeJSON(w, e.Status, e)
}

// WriteError sends the answer to an error of the layers below.
func WriteError(w http.ResponseWriter, err error) { asError(err).Write(w) }

// badRequest is the 400 that names the field at fault.
func badRequest(param, format string, args ...any) *Error {
	return &Error{
		Status:  http.StatusBadRequest,
		Type:    TypeInvalidRequest,
		Param:   param,
		Message: fmt.Sprintf(format, args...),
	}
}

// unsupported is the 400 for a field of known meaning that can't be honoured.
func unsupported(param, format string, args ...any) *Error {
	e := badRequest(param, format, args...)
	e.Code = "unsupported_parameter"
	return e
}

// Retry-After where nothing better is known.
const (
	retryLoading  = 5 * time.Second
	retryShutdown = 10 * time.Second
)

// asError gives the answer to an error of the layers below.
func asError(err error) *Error {
	var (
		own       *Error
		tooLarge  *http.MaxBytesError
		unknown   *generate.UnknownModelError
		notReady  *generate.NotReadyError
		queueFull *scheduler.QueueFullError
		tooLong   *scheduler.ContextLengthError
		template  *chat.TemplateError
		backendNo *backend.UnavailableError
		sampling  *sample.ParamError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &tooLarge):
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Type: TypeInvalidRequest, Code: "request_too_large",
			Message: fmt.Sprintf("the request body is larger than %d bytes, the most this server accepts", tooLarge.Limit),
		}
	case errors.As(err, &unknown):
		return &Error{
			Status: http.StatusNotFound, Type: TypeInvalidRequest, Code: "model_not_found", Param: "model",
			Message: err.Error(),
		}
	case errors.As(err, &backendNo): // wrapped by the not-ready error of its model
		return &Error{
			Status: http.StatusUnprocessableEntity, Type: TypeInvalidRequest, Code: "backend_unavailable", Param: "model",
			Message: err.Error(),
		}
	case errors.As(err, &notReady):
		e := &Error{
			Status: http.StatusServiceUnavailable, Type: TypeUnavailable, Code: "model_not_ready", Param: "model",
			Message: firstLine(err),
		}
		if notReady.State == generate.Loading {
			e.RetryAfter = retryLoading
		}
		return e
	case errors.As(err, &queueFull):
		return &Error{
			Status: http.StatusTooManyRequests, Type: TypeRateLimit, Code: "rate_limit_exceeded",
			Message: err.Error(), RetryAfter: max(queueFull.RetryAfter, time.Second),
		}
	case errors.Is(err, scheduler.ErrStopped):
		return ShuttingDown()
	case errors.As(err, &tooLong):
		e := badRequest("messages", "%s", err)
		e.Code = "context_length_exceeded"
		return e
	case errors.As(err, &sampling):
		return badRequest(sampling.Param, "%s", sampling)
	case errors.Is(err, scheduler.ErrInvalidRequest):
		return badRequest("", "%s", err)
	case errors.Is(err, generate.ErrNoTemplate):
		return badRequest("messages", "%s", err)
	case errors.As(err, &template):
		e := badRequest("messages", "%s", template)
		e.Code = "template_error"
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Type: TypeServer, Code: "internal_error", Message: firstLine(err)}
}

// firstLine leaves out the stack that the error of a panic carries: that is for
// the log.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// ShuttingDown is the 503 of a server that drains.
func ShuttingDown() *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Type: TypeUnavailable, Code: "shutting_down",
		Message: "the server is shutting down", RetryAfter: retryShutdown,
	}
}
