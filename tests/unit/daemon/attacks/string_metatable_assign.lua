-- tries: to assign a method of strings
-- ends: error
("").upper = nil
