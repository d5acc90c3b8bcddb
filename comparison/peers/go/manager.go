package main

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

const maxLogin = 16 * 1024

var passwords = map[string]string{"percy": "123", "alice": "123", "bob": "123"}

// Manager knows every client, and which handler gets which event.
type Manager struct {
	otps     *OTPs
	origins  map[string]bool
	upgrader websocket.Upgrader
	handlers map[string]EventHandler

	mutex   sync.RWMutex // guards clients, and the room of each
	clients map[*Client]bool
}

func NewManager(port int) *Manager {
	return &Manager{
		otps: NewOTPs(),
		origins: map[string]bool{
			fmt.Sprintf("http://localhost:%d", port):  true,
			fmt.Sprintf("https://localhost:%d", port): true,
			fmt.Sprintf("http://127.0.0.1:%d", port):  true,
			fmt.Sprintf("https://127.0.0.1:%d", port): true,
		},
		upgrader: websocket.Upgrader{
			ReadBufferSize:  1024,
			WriteBufferSize: 1024,
			// serveWS has looked at it already, before it used up the one-time password.
			CheckOrigin: func(*http.Request) bool { return true },
		},
		handlers: map[string]EventHandler{
			EventSendMessage: sendMessage,
			EventChangeRoom:  changeRoom,
		},
		clients: make(map[*Client]bool),
	}
}

func (m *Manager) login(w http.ResponseWriter, r *http.Request) {
	var given struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&given); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	password, known := passwords[given.Username]
	if subtle.ConstantTimeCompare([]byte(given.Password), []byte(password)) != 1 || !known {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]string{"otp": m.otps.Issue(given.Username)}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Println("login:", err)
	}
}

func (m *Manager) serveWS(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && !m.origins[origin] {
		http.Error(w, "foreign origin", http.StatusForbidden)
		return
	}
	user, ok := m.otps.Redeem(r.URL.Query().Get("otp"))
	if !ok {
		http.Error(w, "no valid one-time password", http.StatusUnauthorized)
		return
	}
	connection, err := m.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	client := NewClient(connection, m, user)
	m.add(client)
	go client.readEvents()
	go client.writeEvents()
}

func (m *Manager) add(client *Client) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.clients[client] = true
}

func (m *Manager) remove(client *Client) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.clients[client] {
		delete(m.clients, client)
		close(client.gone)
		client.connection.Close()
	}
}

func (m *Manager) move(client *Client, room string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	client.room = room
}

// roommates appends all clients in the same room to a list.
//
// Events are sent from the list, after the lock is given back: a client that is stuck holds up whoever sends to it, but
// nobody's coming and going.
func (m *Manager) roommates(of *Client, list []*Client) []*Client {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	for client := range m.clients {
		if client.room == of.room {
			list = append(list, client)
		}
	}
	return list
}

func (m *Manager) route(event Event, client *Client) error {
	handler, ok := m.handlers[event.Type]
	if !ok {
		return fmt.Errorf("no such event type: %q", event.Type)
	}
	return handler(event, client)
}
