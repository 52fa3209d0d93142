-- tries: to change the event for the next trigger
-- ends: error
event.key = "other"
