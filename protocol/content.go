package protocol

import "strings"

// IsText says whether a reply of this Content-Type is text; without one it is, as what a
// REST app says usually is.
func IsText(contentType string) bool {
	t := mediaType(contentType)
	switch {
	case t == "", strings.HasPrefix(t, "text/"), isJSON(t), strings.HasSuffix(t, "+xml"):
		return true
	}
	return t == "application/xml" || t == "application/javascript" || t == "application/x-www-form-urlencoded"
}

// IsJSON says whether a reply of this Content-Type is JSON.
func IsJSON(contentType string) bool { return isJSON(mediaType(contentType)) }

func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

func mediaType(contentType string) string {
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	return strings.TrimSpace(t)
}
