// Package api is the HTTP API of customers and of the operator, the types of
// both, and the client that commands and screens use.
package api
