DROP TABLE busy_question;
