package grammar

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

const (
	month31  = `(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])`
	month30  = `(0[469]|11)-(0[1-9]|[12][0-9]|30)`
	february = `02-(0[1-9]|1[0-9]|2[0-8])`
	leap     = `([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29`
	fullDate = `([0-9]{4}-(` + month31 + `|` + month30 + `|` + february + `)|` + leap + `)`
	offset   = `([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	// RFC 3339 has leap seconds only where it is 23:59 in UTC; they are left out.
	fullTime = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?` + offset
	octet    = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
	ipv4     = octet + `(\.` + octet + `){3}`
	atom     = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
	userinfo = `([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*`
	host     = `([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*`
	pchar    = `([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})`
	noColon  = `([A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})`
	pointer  = `(/([^~/]|~[01])*)*`
	variable = `[A-Za-z0-9_]+(:[1-9][0-9]{0,3}|\*)?`
)

// labels is the pattern of host names of up to n labels of up to most characters: together
// they stay below the 253 characters that are allowed.
func labels(n, most int) string {
	label := fmt.Sprintf(`[A-Za-z0-9]([A-Za-z0-9-]{0,%d}[A-Za-z0-9])?`, most-2)
	return fmt.Sprintf(`%s(\.%s){0,%d}`, label, label, n-1)
}

// A format is what the keyword format asks of a string, compiled once it is wanted.
type format struct {
	text, written func() *dfa // the strings, and how JSON writes them, with the quotes
}

func newFormat(pattern string) format {
	text := sync.OnceValue(func() *dfa { return parseRegex(newBudget(context.Background()), pattern) })
	return format{text, sync.OnceValue(func() *dfa {
		lim := newBudget(context.Background())
		return quoted(lim, encode(lim, text()))
	})}
}

// formats are the patterns of the formats supported, each narrower than or the same as what
// its RFC allows.
var formats = func() map[string]format {
	// RFC 3986, appendix A.
	authority := `//(` + userinfo + `@)?(` + host + `|\[(` + ipv6() + `)\])(:[0-9]*)?(/` + pchar + `*)*`
	query := `(\?(` + pchar + `|[/?])*)?(#(` + pchar + `|[/?])*)?`
	absolute := `[A-Za-z][A-Za-z0-9+.-]*:(` + authority + `|/?(` + pchar + `+(/` + pchar + `*)*)?)`
	relative := authority + `|/(` + pchar + `+(/` + pchar + `*)*)?|(` + noColon + `+(/` + pchar + `*)*)?`
	uri, reference := newFormat(absolute+query), newFormat(`(`+absolute+`|`+relative+`)`+query)
	// RFC 5321, section 4.5.3.1: the local part has up to 64 characters. So bounded, and with labels
	// that are, nothing is longer than the 255 that many schemas allow.
	email := newFormat(`(?=[^@]{1,64}@)` + atom + `(\.` + atom + `)*@` + labels(3, 62))
	hostname := newFormat(`(?!(.*\.)?..--)(` + labels(3, 63) + `|` + labels(8, 30) + `)`)
	return map[string]format{
		"byte":                  newFormat(`([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?`),
		"date":                  newFormat(fullDate),
		"time":                  newFormat(fullTime),
		"date-time":             newFormat(fullDate + `[Tt]` + fullTime),
		"duration":              newFormat(`P([0-9]+W|([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)(T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S))?|T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S))`),
		"email":                 email,
		"idn-email":             email,
		"hostname":              hostname,
		"idn-hostname":          hostname,
		"ipv4":                  newFormat(ipv4),
		"ipv6":                  newFormat(ipv6()),
		"iri":                   uri,
		"iri-reference":         reference,
		"json-pointer":          newFormat(pointer),
		"relative-json-pointer": newFormat(`(0|[1-9][0-9]*)(#|` + pointer + `)`),
		"regex":                 newFormat(`\^?((\w|[ _,:;@#%&=<>~"'!/.-]|\\[dDwWsS./*+?()|^$]|\[\^?[A-Za-z0-9_]+\])[*+?]?)*\$?`),
		"uri":                   uri,
		"url":                   uri,
		"uri-reference":         reference,
		"uri-template":          newFormat(`([A-Za-z0-9._~!$&()*+,;=:@/?#-]|\[|\]|%[0-9A-Fa-f]{2}|\{[+#./;?&]?` + variable + `(,` + variable + `)*\})*`),
		"uuid":                  newFormat(`[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}`),
	}
}()

// numberFormats are the formats of numbers, as OpenAPI has them: the least and the most of
// the integers, or "" for those that bound nothing.
var numberFormats = map[string][2]string{
	"int32":  {"-2147483648", "2147483647"},
	"int64":  {"-9223372036854775808", "9223372036854775807"},
	"uint32": {"0", "4294967295"},
	"uint64": {"0", "18446744073709551615"},
	"float":  {},
	"double": {},
}

// ipv6 is the pattern of RFC 4291, section 2.2: eight groups, of which one run may
// be left out, and the last two of which may be an IPv4 address.
func ipv6() string {
	const group = `[0-9A-Fa-f]{1,4}`
	last := `(` + group + `:` + group + `|` + ipv4 + `)`
	p := []string{fmt.Sprintf(`(%s:){6}%s`, group, last)}
	for before := range 8 {
		head := "::"
		if before > 0 {
			head = fmt.Sprintf(`%s(:%s){%d}::`, group, group, before-1)
		}
		// At least one group is left out.
		if after := 7 - before; after >= 2 {
			p = append(p, fmt.Sprintf(`%s(%s:){0,%d}%s`, head, group, after-2, last))
		}
		if before < 7 {
			p = append(p, fmt.Sprintf(`%s(%s)?`, head, group))
		} else {
			p = append(p, head)
		}
	}
	return strings.Join(p, "|")
}
