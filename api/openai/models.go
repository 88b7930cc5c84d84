package openai

import (
	"net/http"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/generate"
)

// modelObject is OpenAI's model object and what we add to it.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`

	Aliases        []string              `json:"aliases,omitempty"`
	Ready          bool                  `json:"ready"`
	State          string                `json:"state"` // "loading", "ready" or "failed"
	Error          string                `json:"error,omitempty"`
	Backend        string                `json:"backend,omitempty"`
	Device         string                `json:"device,omitempty"`
	BackendVersion string                `json:"backend_version,omitempty"` // MLX's, say
	Requested      string                `json:"requested_backend,omitempty"`
	FallbackReason string                `json:"fallback_reason,omitempty"`
	Capabilities   *backend.Capabilities `json:"capabilities,omitempty"`
	Architecture   string                `json:"architecture,omitempty"`
	ContextLength  int                   `json:"context_length,omitempty"`
	Parameters     int64                 `json:"parameters,omitempty"`
	Quantization   string                `json:"quantization,omitempty"`
	// How the model writes calls of tools, and marks its reasoning.
	ToolFormat      string `json:"tool_format,omitempty"`
	ReasoningFormat string `json:"reasoning_format,omitempty"`
}

func newModelObject(e generate.Entry) modelObject {
	o := modelObject{
		ID: e.ID, Object: "model", OwnedBy: "inferflux", Created: e.Created.Unix(),
		Aliases: e.Aliases, State: e.State.String(), Ready: e.State == generate.Ready,
	}
	if e.Err != nil {
		o.Error = firstLine(e.Err)
	}
	if e.Model == nil {
		return o
	}
	engine := e.Model.Engine()
	config, capabilities, description := engine.Model(), engine.Capabilities(), engine.Description()
	o.Backend, o.Device, o.BackendVersion = description.Name, description.Device, description.Version
	o.Capabilities = &capabilities
	o.ContextLength = engine.Context()
	o.Architecture, o.Parameters, o.Quantization = config.Architecture, config.Parameters, config.Quantization
	o.ToolFormat, o.ReasoningFormat = e.Model.Dialect().ToolFormat(), e.Model.Dialect().ReasoningFormat()
	if choice := e.Model.Choice(); choice.FallbackReason != "" {
		o.Requested, o.FallbackReason = choice.Requested, choice.FallbackReason
	}
	return o
}

func (a *API) listModels(w http.ResponseWriter, _ *http.Request) {
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{Object: "list", Data: []modelObject{}}
	for _, e := range a.models.List() {
		list.Data = append(list.Data, newModelObject(e))
	}
	writeJSON(w, http.StatusOK, list)
}

func (a *API) getModel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if id == "" { // /v1/models/
		a.listModels(w, r)
		return
	}
	unknown := &generate.UnknownModelError{Name: id}
	for _, e := range a.models.List() {
		if e.Named(id) {
			writeJSON(w, http.StatusOK, newModelObject(e))
			return
		}
		unknown.Known = append(unknown.Known, e.ID)
	}
	asError(unknown).Write(w)
}
