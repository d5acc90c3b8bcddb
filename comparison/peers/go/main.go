// A chat server with gorilla/websocket: a goroutine that reads and one that writes for each client.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
)

func main() {
	port := flag.Int("port", 8080, "the port on 127.0.0.1")
	tls := flag.Bool("tls", false, "serve TLS; then follow CERT and KEY, two PEM files")
	flag.Parse()

	manager := NewManager(*port)
	http.HandleFunc("POST /login", manager.login)
	http.HandleFunc("GET /ws", manager.serveWS)

	address := fmt.Sprintf("127.0.0.1:%d", *port)
	log.Fatal(serve(address, *tls, flag.Args()))
}

func serve(address string, tls bool, files []string) error {
	if !tls {
		return http.ListenAndServe(address, nil)
	}
	if len(files) != 2 {
		return errors.New("--tls takes two files, a certificate and its key")
	}
	return http.ListenAndServeTLS(address, files[0], files[1], nil)
}
