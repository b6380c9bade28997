package signature

import "strings"

// Query returns what has to be appended to the query of the request's URL when
// these schemes sign it, as "name=value&name=value" without a separator in front,
// and "" for most of them. Ask once, before signing, and send the request to the
// URL that you sign:
//
//	query, err := signature.Query(request, schemes)
//	request.URL = signature.Extend(request.URL, query)
//	fields, used, err := signer.Sign(request, schemes, ring)
//
// The error wraps [ErrUnknownScheme] or [ErrInvalidRequest].
func Query(r Request, schemes []string) (string, error) {
	query := ""
	for _, name := range schemes {
		known, err := lookup(name)
		if err != nil {
			return "", err
		}
		extender, ok := known.Scheme.(Extender)
		if !ok {
			continue
		}
		part, err := extender.Query(r)
		if err != nil {
			return "", err //nolint:wrapcheck // the schemes are this package's
		}
		if query != "" && part != "" {
			query += "&"
		}
		query += part
	}
	return query, nil
}

// Extend appends what [Query] returned to a URL or to the path and query of a
// request.
func Extend(target, query string) string {
	if query == "" {
		return target
	}
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + query
}
