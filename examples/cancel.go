package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func main() {
	address := setting("TN_BASE_URL", "http://127.0.0.1:8787") + "/api/v2/cmd/delTradeOrder"
	key, secret := setting("TN_API_KEY", "tn-demo-key"), setting("TN_API_SECRET", "tn-demo-secret")
	orderID := "2929292929"
	if len(os.Args) > 1 {
		orderID = os.Args[1]
	}
	nonce := strconv.FormatInt(time.Now().UnixNano()/100, 10) // units of 100 ns

	// Sorted by name, raw values, the nested map as params=name=value.
	text := "apiKey=" + key + "&cmd=delTradeOrder&nonce=" + nonce + "&params=order_id=" + orderID
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))

	form := url.Values{"apiKey": {key}, "cmd": {"delTradeOrder"}, "nonce": {nonce}, "params[order_id]": {orderID}}
	request, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-NtApi-Sig", hex.EncodeToString(mac.Sum(nil)))
	client := http.Client{
		Timeout: 10 * time.Second,
		// Do not repeat a signed cancel after a redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	reply, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(reply.StatusCode, string(body))
}
