"""What annotation tools and voice platforms export, in our own words: samples for the tests of the formats."""

ALEXA = {"interactionModel": {"languageModel": {
    "invocationName": "house of lamps",
    "intents": [
        {"name": "AMAZON.StopIntent", "samples": []}, {"name": "AMAZON.FallbackIntent", "samples": ["who knows"]},
        {"name": "Dim", "slots": [{"name": "room", "type": "ROOMS", "samples": ["in the {room}"]},
                                  {"name": "share", "type": "AMAZON.NUMBER"}, {"name": "day", "type": "AMAZON.DATE"}],
         "samples": ["dim the {room} to {share}", "dim\u2019em all", "dim it {day}"]}],
    "types": [{"name": "ROOMS", "values": [{"id": "1", "name": {"value": "attic", "synonyms": ["loft", "top floor"]}},
                                           {"id": None, "name": {"value": "hall"}}]}]},
    "dialog": {"intents": [{"name": "Dim", "confirmationRequired": False}]}, "prompts": []}}
WIT = {"utterances": [
    {"text": "👋 wake me at nine in Oslo", "intent": "alarm", "traits": [], "entities": [
        {"entity": "wit$datetime:datetime", "start": 10, "end": 17, "body": "at nine", "entities": []},
        {"entity": "wit$location:to", "start": 22, "end": 26, "body": "Oslo", "entities": []}]},
    {"text": "lamp in the loft", "intent": "on", "entities": [
        {"entity": "room:room", "start": 12, "end": 16, "body": "loft", "entities": []}], "traits": []},
    {"text": "lamp in the loft", "intent": "on", "entities": [
        {"entity": "room:room", "start": 2, "end": 6, "body": "hall", "entities": []}], "traits": []},
    {"text": "tell me a joke", "entities": [], "traits": []}]}
LINES = {
    "prodigy": [
        {"text": "😀 in the hall", "_input_hash": 1, "_task_hash": 2, "options": [{"id": "on"}], "accept": ["on"],
         "tokens": [{"text": "in", "start": 2, "end": 4, "id": 0}], "spans": [
             {"start": 9, "end": 13, "label": "room", "token_start": 3, "token_end": 3}], "answer": "accept"},
        {"text": "bad", "_input_hash": 1, "accept": ["on"], "answer": "reject"},
        {"text": "in", "_input_hash": 1, "label": "off", "answer": "accept"},
        {"text": "two", "_input_hash": 1, "accept": ["on", "off"], "answer": "accept"}],
    "doccano": [
        {"id": 1, "text": "😀 in the hall", "entities": [[9, 13, "room"]], "cats": ["on"]},
        {"id": 2, "text": "in", "label": ["off"], "Comments": []},
        {"id": 3, "text": "two", "label": ["on", "off"], "Comments": []}],
    "spacy": [
        ["😀 in the hall", {"entities": [[9, 13, "room"]], "cats": {"on": 1.0, "off": 0.0}}],
        ["in", {"cats": {"off": 1, "on": 0}}], ["two", {"cats": {"off": 1, "on": 1}}]],
}
SNIPS_YAML = """\
# lamps
---
type: intent
name: on
slots:
- name: where
  entity: room
utterances:
- lamp in the [where:room](loft)
- "lamp: [where](hall) and [n:snips/number](two)"
- [a list]
---
type: entity
name: room
values:
- [attic, loft, top floor]
- hall
"""
PHRASES = {"trainingPhrases": [{"id": "a", "parts": [{"text": "the "}, {"text": "loft", "parameterId": "where"}]}]}


def task(text, *values):
    kinds = [{"from_name": "ask" if "choices" in one else "mark", "to_name": "text", "value": one,
              "type": "choices" if "choices" in one else "labels"} for one in values]
    return {"id": 1, "data": {"text": text}, "annotations": [{"id": 2, "result": kinds, "was_cancelled": False}]}


TASKS = [task("a hall", {"start": 2, "end": 6, "text": "hall", "labels": ["room"]}, {"choices": ["on"]})] * 3
