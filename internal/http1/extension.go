package http1

// extensionSteps is the grammar of chunk extensions (RFC 9112 §7.1.1) outside quoted
// strings: the state after each kind of byte. inSize, the zero, stands for refused.
var extensionSteps = [...]struct{ token, space, equals, semicolon, quote, cr chunkState }{
	wantExtName:   {token: inExtName, space: wantExtName},
	inExtName:     {token: inExtName, space: afterExtName, equals: wantExtValue, semicolon: wantExtName, cr: wantSizeLF},
	afterExtName:  {space: afterExtName, equals: wantExtValue, semicolon: wantExtName},
	wantExtValue:  {token: inExtValue, space: wantExtValue, quote: inQuoted},
	inExtValue:    {token: inExtValue, space: afterExtValue, semicolon: wantExtName, cr: wantSizeLF},
	endQuoted:     {space: afterExtValue, semicolon: wantExtName, cr: wantSizeLF},
	afterExtValue: {space: afterExtValue, semicolon: wantExtName},
}

// afterExtension returns the state after b, a byte of an extension.
func afterExtension(state chunkState, b byte) chunkState {
	if state == inQuoted || state == inQuotedPair {
		return afterQuoted(state, b)
	}
	step := &extensionSteps[state]
	switch b {
	case ' ', '\t':
		return step.space
	case '=':
		return step.equals
	case ';':
		return step.semicolon
	case '"':
		return step.quote
	case '\r':
		return step.cr
	}
	if classes[b]&isToken == 0 {
		return inSize
	}
	return step.token
}

func afterQuoted(state chunkState, b byte) chunkState {
	switch {
	case classes[b]&isText == 0:
		return inSize
	case state == inQuotedPair:
		return inQuoted
	case b == '"':
		return endQuoted
	case b == '\\':
		return inQuotedPair
	}
	return inQuoted
}
