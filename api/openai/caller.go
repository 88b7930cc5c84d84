package openai

import "context"

// caller is who asks.
type caller struct{ client, tenant string }

type callerKey struct{}

// WithCaller says who asks: the scheduler is fair between clients, and the requests of a
// tenant don't use what others have left in the cache of prefixes.
func WithCaller(ctx context.Context, client, tenant string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{client, tenant})
}

// TenantOf is the tenant of a request.
func TenantOf(ctx context.Context) string { return callerOf(ctx).tenant }

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}
