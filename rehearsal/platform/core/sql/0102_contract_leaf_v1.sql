-- Contract: schema 2 becomes the only one. Breaks 2027.Q1, which can no longer write a leaf; undone by 0102's reverse.
DO $$
BEGIN
    IF (SELECT count(*) FROM merkle_leaves) <> (SELECT count(*) FROM merkle_leaves_v2) THEN
        RAISE EXCEPTION 'the schema 2 tree does not cover every item yet: let green derive it, then run category B again';
    END IF;
END
$$;
DROP TABLE merkle_leaves;
