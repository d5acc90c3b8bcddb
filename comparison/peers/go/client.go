package main

import (
	"encoding/json"
	"log"
	"time"

	"github.com/gorilla/websocket"
)

const (
	firstRoom    = "general"
	maxMessage   = 16 * 1024
	pongWait     = 10 * time.Second
	pingInterval = 9 * time.Second
)

// Client is one connection.
type Client struct {
	connection *websocket.Conn
	manager    *Manager
	user       string
	room       string

	egress    chan Event    // unbuffered: whoever sends waits until the writer takes the event
	gone      chan struct{} // closed when the client is removed, so that nobody waits for a writer that has ended
	roommates []*Client     // the reader's, to be used again for each broadcast
}

func NewClient(connection *websocket.Conn, manager *Manager, user string) *Client {
	return &Client{
		connection: connection,
		manager:    manager,
		user:       user,
		room:       firstRoom,
		egress:     make(chan Event),
		gone:       make(chan struct{}),
	}
}

func (c *Client) readEvents() {
	defer c.manager.remove(c)
	c.connection.SetReadLimit(maxMessage)
	c.awaitPong("")
	c.connection.SetPongHandler(c.awaitPong)
	for {
		_, message, err := c.connection.ReadMessage()
		if err != nil {
			return // gone, silent for too long, or breaking the rules
		}
		var event Event
		if err := json.Unmarshal(message, &event); err != nil {
			log.Println("bad event:", err)
			continue
		}
		if err := c.manager.route(event, c); err != nil {
			log.Println("event refused:", err)
		}
	}
}

func (c *Client) awaitPong(string) error {
	return c.connection.SetReadDeadline(time.Now().Add(pongWait))
}

func (c *Client) writeEvents() {
	defer c.manager.remove(c)
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case event := <-c.egress:
			data, err := json.Marshal(event)
			if err != nil {
				log.Println("event that is no JSON:", err)
				continue
			}
			if err := c.connection.WriteMessage(websocket.TextMessage, data); err != nil {
				return
			}
		case <-ticker.C:
			if err := c.connection.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		case <-c.gone:
			return
		}
	}
}

// broadcast hands an event to every client in the room, one after another.
func (c *Client) broadcast(event Event) {
	c.roommates = c.manager.roommates(c, c.roommates[:0])
	for _, client := range c.roommates {
		select {
		case client.egress <- event:
		case <-client.gone:
		}
	}
	clear(c.roommates) // so that the list keeps no client in memory that has left
}
