package api

import "encoding/hex"

const (
	typeJSON   = "application/json"
	typeCSV    = "text/csv"
	typeNDJSON = "application/x-ndjson"

	maxBody     = 64 << 10 // bytes of a request body
	maxPage     = 1000
	defaultPage = 100
)

func hexHead(head [32]byte) string { return hex.EncodeToString(head[:]) }
