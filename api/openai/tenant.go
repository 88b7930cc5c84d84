package openai

import "context"

type tenantKey struct{}

// WithTenant says who asks: the requests of a tenant don't use what others have left in
// the cache of prefixes.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return context.WithValue(ctx, tenantKey{}, tenant)
}

func tenantOf(ctx context.Context) string {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return tenant
}
