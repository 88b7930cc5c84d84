package grammar

import (
	"slices"
	"strings"
)

// A Support says what is done with a keyword of JSON Schema.
type Support string

// What is done with keywords.
const (
	Enforced   Support = "enforced"
	Annotation Support = "annotation" // says nothing about what is valid
	Refused    Support = "refused"
)

// A Keyword is a keyword of JSON Schema and what is done with it.
type Keyword struct {
	Name    string
	Support Support
	Note    string // the conditions under which it is enforced, or why it is refused
}

// Keywords returns all keywords known, in alphabetical order. Others are refused, except
// those that begin with "x-" or "_", which are annotations.
func Keywords() []Keyword { return slices.Clone(keywords) }

var keywords = []Keyword{
	{"$anchor", Enforced, ""},
	{"$comment", Annotation, ""},
	{"$defs", Enforced, ""},
	{"$dynamicAnchor", Refused, "schemas that change with the way they are reached aren't supported"},
	{"$dynamicRef", Refused, "schemas that change with the way they are reached aren't supported"},
	{"$id", Enforced, "below the root only where there is no `$ref`"},
	{"$recursiveAnchor", Refused, "schemas that change with the way they are reached aren't supported"},
	{"$recursiveRef", Refused, "schemas that change with the way they are reached aren't supported"},
	{"$ref", Enforced, "within the schema, recursion included; nothing is fetched"},
	{"$schema", Annotation, "all are read as draft 2020-12"},
	{"$vocabulary", Refused, "a schema can't change what keywords mean"},
	{"additionalItems", Enforced, "as up to draft 2019-09: beside a list of items"},
	{"additionalProperties", Enforced, "allowed unless false, as the standard has it"},
	{"allOf", Enforced, ""},
	{"allowComments", Annotation, ""},
	{"allowTrailingCommas", Annotation, ""},
	{"anyOf", Enforced, ""},
	{"comment", Annotation, ""},
	{"const", Enforced, "the members of an object in the order given"},
	{"contains", Enforced, "two at most at once, without maxContains"},
	{"contentEncoding", Annotation, ""},
	{"contentMediaType", Annotation, ""},
	{"contentSchema", Annotation, ""},
	{"default", Annotation, ""},
	{"defaultSnippets", Annotation, ""},
	{"definitions", Enforced, "as $defs"},
	{"dependencies", Enforced, "as up to draft 7"},
	{"dependentRequired", Enforced, ""},
	{"dependentSchemas", Enforced, ""},
	{"deprecated", Annotation, ""},
	{"deprecationMessage", Annotation, ""},
	{"description", Annotation, ""},
	{"discriminator", Annotation, ""},
	{"doNotSuggest", Annotation, ""},
	{"else", Enforced, "where the negation of if can be decided"},
	{"enum", Enforced, "the members of an object in the order given"},
	{"enumDescriptions", Annotation, ""},
	{"enumNames", Annotation, ""},
	{"errorMessage", Annotation, ""},
	{"example", Annotation, ""},
	{"examples", Annotation, ""},
	{"exclusiveMaximum", Enforced, "also as a boolean, as draft 4 has it"},
	{"exclusiveMinimum", Enforced, "also as a boolean, as draft 4 has it"},
	{"externalDocs", Annotation, ""},
	{"format", Enforced, "those listed below; others are refused"},
	{"id", Enforced, "as `$id`, as draft 4 has it"},
	{"if", Enforced, "where its negation can be decided"},
	{"items", Enforced, "also as a list, as up to draft 2019-09"},
	{"javaType", Annotation, ""},
	{"links", Annotation, ""},
	{"markdownDescription", Annotation, ""},
	{"markdownEnumDescriptions", Annotation, ""},
	{"maxContains", Refused, "what must not be counted can't be told in general"},
	{"maxItems", Enforced, ""},
	{"maxLength", Enforced, "above 10000 as 10000"},
	{"maxProperties", Enforced, ""},
	{"maximum", Enforced, ""},
	{"minContains", Enforced, ""},
	{"minItems", Enforced, ""},
	{"minLength", Enforced, ""},
	{"minProperties", Enforced, "above 1 only with additionalProperties false, or as many required properties"},
	{"minimum", Enforced, ""},
	{"multipleOf", Enforced, "up to 5000 units of its last decimal place, of which it may have six"},
	{"not", Enforced, "where it can be decided"},
	{"oneOf", Enforced, "where the alternatives exclude each other or their negations can be decided"},
	{"pattern", Enforced, "regular expressions without back-references; look-aheads at the start only"},
	{"patternErrorMessage", Annotation, ""},
	{"patternProperties", Enforced, "six at most at once"},
	{"prefixItems", Enforced, ""},
	{"properties", Enforced, "written in the schema's order"},
	{"propertyNames", Enforced, ""},
	{"propertyOrder", Annotation, ""},
	{"readOnly", Annotation, ""},
	{"readonly", Annotation, ""},
	{"required", Enforced, ""},
	{"suggestSortText", Annotation, ""},
	{"then", Enforced, ""},
	{"title", Annotation, ""},
	{"tsType", Annotation, ""},
	{"type", Enforced, "integers are written without a fraction"},
	{"unevaluatedItems", Enforced, "true, or beside no keyword that applies other schemas to the same value"},
	{"unevaluatedProperties", Enforced, "true, or beside no keyword that applies other schemas to the same value"},
	{"uniqueItems", Enforced, "only false, or with maxItems 1 at most"},
	{"writeOnly", Annotation, ""},
	{"xml", Annotation, ""},
}

// Formats returns the values of the keyword format that are enforced, in
// alphabetical order.
func Formats() []string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// support looks a keyword up.
func support(name string) Keyword {
	i, ok := slices.BinarySearchFunc(keywords, name, func(k Keyword, name string) int { return strings.Compare(k.Name, name) })
	switch {
	case ok:
		return keywords[i]
	case strings.HasPrefix(name, "x-"), strings.HasPrefix(name, "_"):
		return Keyword{name, Annotation, ""}
	}
	return Keyword{name, Refused, "it isn't known"}
}
