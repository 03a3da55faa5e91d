"""Paho clients for tests, driven from outside: one JSON command a line on stdin, one JSON event a line on stdout.

Owns nothing but the translation into Paho's calls. Must not decide, repeat or reconnect anything: a test says what
happens, and sees everything that Paho tells.
"""

import json
import os
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

clients = {}
published = {}
write_lock = threading.Lock()


def tell(key, event, **fields):
    with write_lock:
        sys.stdout.write(json.dumps({"client": key, "event": event, **fields}) + "\n")
        sys.stdout.flush()


def code_of(reason):
    return reason if isinstance(reason, int) else reason.value


def properties_of(packet_type, wanted):
    properties = Properties(packet_type)
    for name, value in wanted.items():
        if name == "UserProperty":
            for pair in value:
                properties.UserProperty = tuple(pair)
        else:
            setattr(properties, name, value.encode() if name == "CorrelationData" else value)
    return properties


def told_properties(properties):
    names = ("UserProperty", "ContentType", "ResponseTopic", "CorrelationData", "MessageExpiryInterval", "TopicAlias")
    found = {name: getattr(properties, name) for name in names if hasattr(properties, name)}
    if "CorrelationData" in found:
        found["CorrelationData"] = found["CorrelationData"].decode()
    return found


def connect(key, command):
    version = command["version"]
    is_5 = version == mqtt.MQTTv5
    arguments = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
    options = {} if is_5 else {"clean_session": command["clean"]}
    path = command.get("webSocketPath")
    if path:
        options["transport"] = "websockets"
    client = mqtt.Client(
        *arguments, client_id=command["clientId"], protocol=version, reconnect_on_failure=False, **options
    )
    filters = [(name, command["qos"]) for name in command["filters"]]

    def on_connect(_client, _userdata, flags, code, properties=None):
        tell(key, "connected", code=code_of(code), sessionPresent=bool(flags["session present"]))
        if filters:
            client.subscribe(filters)

    def on_message(_client, _userdata, message):
        tell(
            key, "message", topic=message.topic, payload=message.payload.decode(), qos=message.qos,
            retain=bool(message.retain), properties=told_properties(getattr(message, "properties", None)),
        )

    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = lambda _client, _userdata, mid, codes, properties=None: tell(
        key, "subscribed", codes=[code_of(code) for code in codes]
    )
    client.on_publish = lambda _client, _userdata, mid: tell(key, "published", mid=mid)
    client.on_disconnect = lambda _client, _userdata, code, properties=None: tell(
        key, "disconnected", code=code_of(code)
    )
    will = command.get("will")
    if will:
        delay = will.get("delaySeconds")
        properties = properties_of(PacketTypes.WILLMESSAGE, {"WillDelayInterval": delay}) if delay else None
        client.will_set(will["topic"], will["payload"], will["qos"], will.get("retain", False), properties)
    if command.get("authorityFile"):
        client.tls_set(command["authorityFile"])
    if path:
        client.ws_set_options(path)
    clients[key] = client
    if is_5:
        properties = properties_of(PacketTypes.CONNECT, command["properties"])
        client.connect("127.0.0.1", command["port"], clean_start=command["clean"], properties=properties)
    else:
        client.connect("127.0.0.1", command["port"])
    client.loop_start()


def publish(key, command):
    properties = properties_of(PacketTypes.PUBLISH, command["properties"]) if "properties" in command else None
    info = clients[key].publish(
        command["topic"], command["payload"].encode(), command["qos"], command["retain"], properties
    )
    tell(key, "sent", mid=info.mid, number=command["number"])


def perform(command):
    key = command["client"]
    if command["do"] == "connect":
        connect(key, command)
    elif command["do"] == "publish":
        publish(key, command)
    elif command["do"] == "end":
        clients[key].disconnect()
    elif command["do"] == "cut":
        # Paho's own object for a WebSocket cannot be shut down; the system's socket below it can.
        with socket.socket(fileno=os.dup(clients[key].socket().fileno())) as below:
            below.shutdown(socket.SHUT_RDWR)


for line in sys.stdin:
    parsed = json.loads(line)
    try:
        perform(parsed)
    except Exception as error:  # the test that gave the command is told
        tell(parsed["client"], "failed", error=repr(error))
