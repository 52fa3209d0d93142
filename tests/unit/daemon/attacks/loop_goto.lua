-- tries: never to return, with a jump
-- ends: steps time
::again:: goto again
